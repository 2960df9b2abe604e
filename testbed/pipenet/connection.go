package pipenet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const capacity = 64 << 10 // bytes a direction holds

// stream is one direction of a connection.
type stream struct {
	mutex   sync.Mutex
	changed *sync.Cond
	data    []byte
	ended   bool // no more will be written: EOF when data is empty
	refused bool // nobody will read any more
	reading deadline
	writing deadline
}

// deadline is one side's time limit and the timer that wakes those who wait.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (deadline *deadline) passed() bool {
	return !deadline.at.IsZero() && !time.Now().Before(deadline.at)
}

func newStream() *stream {
	made := &stream{}
	made.changed = sync.NewCond(&made.mutex)
	return made
}

func (stream *stream) read(into []byte) (int, error) {
	stream.mutex.Lock()
	defer stream.mutex.Unlock()
	for {
		switch {
		case stream.refused:
			return 0, net.ErrClosed
		case stream.reading.passed():
			return 0, os.ErrDeadlineExceeded
		case len(stream.data) > 0 || len(into) == 0:
			count := copy(into, stream.data)
			stream.data = stream.data[count:]
			stream.changed.Broadcast()
			return count, nil
		case stream.ended:
			return 0, io.EOF
		}
		stream.changed.Wait()
	}
}

func (stream *stream) write(from []byte) (int, error) {
	stream.mutex.Lock()
	defer stream.mutex.Unlock()
	written := 0
	for {
		switch {
		case stream.ended:
			return written, net.ErrClosed
		case stream.refused:
			return written, syscall.EPIPE
		case stream.writing.passed():
			return written, os.ErrDeadlineExceeded
		case written == len(from):
			return written, nil
		}
		if room := capacity - len(stream.data); room > 0 {
			part := from[written:min(len(from), written+room)]
			stream.data = append(stream.data, part...)
			written += len(part)
			stream.changed.Broadcast()
			continue
		}
		stream.changed.Wait()
	}
}

func (stream *stream) end() {
	stream.mutex.Lock()
	defer stream.mutex.Unlock()
	stream.ended = true
	stream.changed.Broadcast()
}

func (stream *stream) refuse() {
	stream.mutex.Lock()
	defer stream.mutex.Unlock()
	stream.refused, stream.data = true, nil
	stream.changed.Broadcast()
}

// limit sets a deadline of this stream and wakes whoever waits when it comes.
func (stream *stream) limit(deadline *deadline, at time.Time) {
	stream.mutex.Lock()
	defer stream.mutex.Unlock()
	if deadline.timer != nil {
		deadline.timer.Stop()
		deadline.timer = nil
	}
	deadline.at = at
	if !at.IsZero() {
		deadline.timer = time.AfterFunc(time.Until(at), func() {
			stream.mutex.Lock()
			defer stream.mutex.Unlock()
			stream.changed.Broadcast()
		})
	}
	stream.changed.Broadcast()
}

// connection is one end.
type connection struct {
	in, out       *stream
	local, remote Address
}

func connect(client, server Address) (near, far *connection) {
	up, down := newStream(), newStream()
	return &connection{in: down, out: up, local: client, remote: server},
		&connection{in: up, out: down, local: server, remote: client}
}

func (connection *connection) fail(what string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: what, Net: "pipe", Source: connection.local, Addr: connection.remote, Err: err}
}

func (connection *connection) Read(into []byte) (int, error) {
	count, err := connection.in.read(into)
	return count, connection.fail("read", err)
}

func (connection *connection) Write(from []byte) (int, error) {
	count, err := connection.out.write(from)
	return count, connection.fail("write", err)
}

// Close ends both directions: the other side reads what was sent, then EOF, and
// its writes fail.
func (connection *connection) Close() error {
	connection.out.end()
	connection.in.refuse()
	connection.SetDeadline(time.Time{}) // no timer outlives the connection
	return nil
}

// CloseWrite ends our direction only.
func (connection *connection) CloseWrite() error {
	connection.out.end()
	return nil
}

func (connection *connection) LocalAddr() net.Addr  { return connection.local }
func (connection *connection) RemoteAddr() net.Addr { return connection.remote }

func (connection *connection) SetDeadline(at time.Time) error {
	connection.SetReadDeadline(at)
	return connection.SetWriteDeadline(at)
}

func (connection *connection) SetReadDeadline(at time.Time) error {
	connection.in.limit(&connection.in.reading, at)
	return nil
}

func (connection *connection) SetWriteDeadline(at time.Time) error {
	connection.out.limit(&connection.out.writing, at)
	return nil
}
