package webserver

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// serve does with a connection what the behaviour says. The connection is closed
// when it returns, unless the HTTP server has it.
func (server *Server) serve(connection net.Conn) {
	server.mutex.Lock()
	behaviour := server.behaviour
	server.mutex.Unlock()
	kept := false
	defer func() {
		if !kept {
			connection.Close()
			server.forget(connection)
		}
	}()
	switch behaviour {
	case Hang:
		<-server.end
		return
	case Reset:
		reset(connection)
		return
	}
	if upgrade := upgrades[server.config.Upgrade]; upgrade != nil {
		if upgrade(connection) != nil {
			return
		}
	}
	switch behaviour {
	case HangAfterHello:
		connection.Read(make([]byte, 1))
		<-server.end
	case ResetAfterHello:
		connection.Read(make([]byte, 1))
		reset(connection)
	case PlainHTTP:
		kept = server.hand(connection)
	case Garbage:
		garbage(connection)
	case Alert:
		connection.Read(make([]byte, 1024))
		connection.Write([]byte{21, 3, 3, 0, 2, 2, 112}) // fatal, unrecognized_name (RFC 6066)
	case Drip:
		kept = server.shake(&dripping{connection, server.config.Interval, server.end})
	default:
		kept = server.shake(connection)
	}
}

// shake makes the handshake and hands the rest to the HTTP server.
func (server *Server) shake(connection net.Conn) bool {
	secured := tls.Server(connection, server.tls())
	if err := secured.Handshake(); err != nil {
		return false
	}
	server.handshakes.Add(1)
	return server.hand(secured)
}

// hand gives a connection to the HTTP server. From then on the HTTP server
// closes it; Close does so too, through the raw connection.
func (server *Server) hand(connection net.Conn) bool {
	select {
	case server.accepted <- connection:
		return true
	case <-server.end:
		return false
	}
}

// reset makes the kernel send RST instead of FIN.
func reset(connection net.Conn) {
	if tcp, isTCP := connection.(*net.TCPConn); isTCP {
		tcp.SetLinger(0)
	}
	connection.Close()
}

// garbage writes until the other side has enough.
func garbage(connection net.Conn) {
	noise := []byte("\x16\x03\xff\xff\xff\x00\x00\x1b[31m<script>" + strings.Repeat("\x80\xfe", 2048))
	for {
		if _, err := connection.Write(noise); err != nil {
			return
		}
	}
}

// dripping writes one byte at a time.
type dripping struct {
	net.Conn
	interval time.Duration
	end      chan struct{}
}

func (dripping *dripping) Write(data []byte) (int, error) {
	for index := range data {
		select {
		case <-time.After(dripping.interval):
		case <-dripping.end:
			return index, net.ErrClosed
		}
		if _, err := dripping.Conn.Write(data[index : index+1]); err != nil {
			return index, err
		}
	}
	return len(data), nil
}

// upgrades speak the plain part of a protocol up to the point where TLS begins.
var upgrades = map[string]func(net.Conn) error{
	"smtp": func(connection net.Conn) error { // RFC 3207
		return talk(connection, "220 testbed ESMTP\r\n", map[string]string{
			"EHLO": "250-testbed\r\n250-PIPELINING\r\n250 STARTTLS\r\n", "STARTTLS": "220 go ahead\r\n",
		})
	},
	"imap": func(connection net.Conn) error { // RFC 3501 section 6.2.1
		return talk(connection, "* OK testbed\r\n", map[string]string{
			"CAPABILITY": "* CAPABILITY IMAP4rev1 STARTTLS\r\n%s OK done\r\n", "STARTTLS": "%s OK begin\r\n",
		})
	},
	"pop3": func(connection net.Conn) error { // RFC 2595 section 4
		return talk(connection, "+OK testbed\r\n", map[string]string{"CAPA": "+OK\r\nSTLS\r\n.\r\n", "STLS": "+OK begin\r\n"})
	},
	"postgres": func(connection net.Conn) error {
		request := make([]byte, 8)
		if _, err := io.ReadFull(connection, request); err != nil {
			return err
		}
		if string(request) != "\x00\x00\x00\x08\x04\xd2\x16\x2f" { // SSLRequest
			return errors.New("no SSLRequest")
		}
		_, err := connection.Write([]byte("S"))
		return err
	},
}

// talk answers lines by the first of their words that is known, until the one
// that begins TLS. %s in an answer is the line's tag.
func talk(connection net.Conn, greeting string, answers map[string]string) error {
	if _, err := io.WriteString(connection, greeting); err != nil {
		return err
	}
	// One byte at a time: nothing of the handshake may end in a buffer.
	lines := bufio.NewReaderSize(io.Reader(onlyOne{connection}), 16)
	for range 20 {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		words := append(strings.Fields(line), "", "")
		verb, tag := strings.ToUpper(words[0]), ""
		if answers[verb] == "" && answers[strings.ToUpper(words[1])] != "" {
			verb, tag = strings.ToUpper(words[1]), words[0]
		}
		answer := answers[verb]
		switch {
		case answer == "":
			answer = "500 what\r\n"
		case strings.Contains(answer, "%s"):
			answer = fmt.Sprintf(answer, tag)
		}
		if _, err := io.WriteString(connection, answer); err != nil {
			return err
		}
		if verb == "STARTTLS" || verb == "STLS" {
			return nil
		}
	}
	return errors.New("no upgrade was asked for")
}

type onlyOne struct{ reader io.Reader }

func (one onlyOne) Read(data []byte) (int, error) {
	if len(data) > 1 {
		data = data[:1]
	}
	return one.reader.Read(data)
}
