package tlsprobe

import "github.com/backstay/backstay/cert"

// leafOnWire finds the first certificate in the plain-text handshake of TLS 1.2
// or older and returns its SHA-256; "" when there is none. stream is what the
// server sent, from its first record on, perhaps cut off.
func leafOnWire(stream []byte) string {
	const (
		recordHandshake    = 22
		messageCertificate = 11
	)
	var messages []byte
	for len(stream) >= 5 { // RFC 5246 section 6.2.1: type, version, length
		length := int(stream[3])<<8 | int(stream[4])
		if stream[0] != recordHandshake || len(stream) < 5+length {
			break
		}
		messages = append(messages, stream[5:5+length]...)
		stream = stream[5+length:]
	}
	for len(messages) >= 4 { // section 7.4: type, length
		length := number(messages[1:])
		if len(messages) < 4+length {
			return ""
		}
		if messages[0] == messageCertificate {
			return firstCertificate(messages[4 : 4+length])
		}
		messages = messages[4+length:]
	}
	return ""
}

// firstCertificate reads the body of a Certificate message, RFC 5246 section
// 7.4.2: length of the list, then length and bytes of each.
func firstCertificate(body []byte) string {
	if len(body) < 6 {
		return ""
	}
	length := number(body[3:])
	if length == 0 || len(body) < 6+length {
		return ""
	}
	return cert.Fingerprint(body[6 : 6+length])
}

func number(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }
