package tlsprobe

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// errNoUpgrade: the server speaks the protocol and does not offer TLS.
var errNoUpgrade = errors.New("the server does not offer an upgrade to TLS")

// upgrades turn a plain connection into one on which the handshake can begin.
var upgrades = map[string]func(io.ReadWriter) error{
	"tcp":      func(io.ReadWriter) error { return nil },
	"smtp":     func(c io.ReadWriter) error { return smtpUpgrade(c, "EHLO") },
	"lmtp":     func(c io.ReadWriter) error { return smtpUpgrade(c, "LHLO") },
	"imap":     imapUpgrade,
	"pop3":     pop3Upgrade,
	"ftp":      ftpUpgrade,
	"postgres": postgresUpgrade,
}

func knownTransport(transport string) bool { return upgrades[transport] != nil }

func upgrade(connection io.ReadWriter, transport string) error {
	return upgrades[transport](connection)
}

// smtpUpgrade: RFC 3207, and RFC 2033 for lmtp.
func smtpUpgrade(c io.ReadWriter, greeting string) error {
	if _, err := replyCode(c, "220"); err != nil {
		return err
	}
	// A name under .invalid (RFC 2606) promises nothing about who asks.
	lines, err := ask(c, greeting+" probe.invalid\r\n", "250")
	if err != nil {
		return err
	}
	if !strings.Contains(strings.ToUpper(lines), "STARTTLS") {
		return errNoUpgrade
	}
	_, err = ask(c, "STARTTLS\r\n", "220")
	return err
}

// ftpUpgrade: RFC 4217.
func ftpUpgrade(c io.ReadWriter) error {
	if _, err := replyCode(c, "220"); err != nil {
		return err
	}
	_, err := ask(c, "AUTH TLS\r\n", "234")
	return err
}

// imapUpgrade: RFC 9051 section 6.2.1.
func imapUpgrade(c io.ReadWriter) error {
	line, err := readLine(c)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "* OK") {
		return fmt.Errorf("no IMAP greeting: %q", line)
	}
	if _, err := io.WriteString(c, "a STARTTLS\r\n"); err != nil {
		return err
	}
	for range maxLines {
		if line, err = readLine(c); err != nil {
			return err
		}
		if strings.HasPrefix(line, "a OK") {
			return nil
		}
		if strings.HasPrefix(line, "a ") {
			return errNoUpgrade
		}
	}
	return errTooMuch
}

// pop3Upgrade: RFC 2595 section 4.
func pop3Upgrade(c io.ReadWriter) error {
	line, err := readLine(c)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "+OK") {
		return fmt.Errorf("no POP3 greeting: %q", line)
	}
	if _, err := io.WriteString(c, "STLS\r\n"); err != nil {
		return err
	}
	if line, err = readLine(c); err != nil {
		return err
	}
	if !strings.HasPrefix(line, "+OK") {
		return errNoUpgrade
	}
	return nil
}

// postgresUpgrade sends SSLRequest (PostgreSQL protocol 3.0, code 80877103).
func postgresUpgrade(c io.ReadWriter) error {
	if _, err := c.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return err
	}
	switch answer[0] {
	case 'S':
		return nil
	case 'N':
		return errNoUpgrade
	}
	return fmt.Errorf("no PostgreSQL answer: %q", answer[0])
}

// ask sends a command and wants a reply with the code.
func ask(c io.ReadWriter, command, code string) (string, error) {
	if _, err := io.WriteString(c, command); err != nil {
		return "", err
	}
	lines, err := replyCode(c, code)
	if errors.Is(err, errOtherCode) {
		return lines, errNoUpgrade
	}
	return lines, err
}

var errOtherCode = errors.New("unexpected reply")

// replyCode reads a reply of RFC 5321 section 4.2.1, all its lines.
func replyCode(c io.Reader, code string) (lines string, err error) {
	for range maxLines {
		line, err := readLine(c)
		if err != nil {
			return lines, err
		}
		if len(line) < 3 || strings.Trim(line[:3], "0123456789") != "" {
			return lines, fmt.Errorf("no reply code: %q", line)
		}
		lines += line + "\n"
		if len(line) > 3 && line[3] == '-' {
			continue
		}
		if line[:3] != code {
			return lines, fmt.Errorf("%w: %q", errOtherCode, line)
		}
		return lines, nil
	}
	return lines, errTooMuch
}

// Caps on the dialogue before TLS.
const (
	maxLines = 100
	maxLine  = 1024
)

// readLine reads byte by byte: whatever follows the line belongs to TLS.
func readLine(c io.Reader) (string, error) {
	var line []byte
	var one [1]byte
	for len(line) < maxLine {
		if _, err := io.ReadFull(c, one[:]); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, one[0])
	}
	return "", errTooMuch
}
