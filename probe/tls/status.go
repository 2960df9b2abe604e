package tlsprobe

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/backstay/backstay/cert"
)

var errTooMuch = errors.New("the server sent more than a handshake can hold")

// dialStatus classes the errors of opening a connection.
func dialStatus(err error) string {
	switch {
	case timedOut(err), errors.Is(err, syscall.ETIMEDOUT):
		return cert.StatusTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return cert.StatusRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ECONNABORTED):
		return cert.StatusReset
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTDOWN),
		errors.Is(err, syscall.ENETDOWN), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT),
		errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return cert.StatusUnreachable // the last two: a local firewall
	}
	return cert.StatusError
}

// handshakeStatus classes the errors of a handshake on an open connection.
func handshakeStatus(err error) string {
	var foreign tls.RecordHeaderError
	switch {
	case timedOut(err):
		return cert.StatusTimeout
	case errors.As(err, &foreign), errors.Is(err, errTooMuch):
		return cert.StatusNotTLS
	case errors.Is(err, context.Canceled):
		return cert.StatusError
	case hungUp(err):
		return cert.StatusReset
	}
	return cert.StatusHandshakeFailed
}

func upgradeStatus(err error) string {
	switch {
	case timedOut(err):
		return cert.StatusTimeout
	case hungUp(err):
		return cert.StatusReset
	case errors.Is(err, errNoUpgrade):
		return cert.StatusHandshakeFailed
	}
	return cert.StatusNotTLS // it speaks something else
}

func timedOut(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &network) && network.Timeout()
}

// hungUp: the connection ended before the handshake did.
func hungUp(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}
