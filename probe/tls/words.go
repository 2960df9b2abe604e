package tlsprobe

import (
	"crypto/tls"
	"fmt"
)

var protocolNames = map[uint16]string{
	tls.VersionTLS10: "TLS1.0", tls.VersionTLS11: "TLS1.1", tls.VersionTLS12: "TLS1.2", tls.VersionTLS13: "TLS1.3",
}

func protocolName(version uint16) string { return protocolNames[version] }

// suiteName is the IANA name; Go uses the same.
func suiteName(suite uint16) string {
	if suite == 0 {
		return ""
	}
	return tls.CipherSuiteName(suite)
}

// groupNames are IANA's (TLS Supported Groups).
var groupNames = map[tls.CurveID]string{
	tls.CurveP256: "secp256r1", tls.CurveP384: "secp384r1", tls.CurveP521: "secp521r1", tls.X25519: "x25519",
	tls.X25519MLKEM768: "X25519MLKEM768", 0x11EB: "SecP256r1MLKEM768", 0x11ED: "SecP384r1MLKEM1024",
}

func groupName(group tls.CurveID) string {
	if group == 0 {
		return ""
	}
	if name := groupNames[group]; name != "" {
		return name
	}
	return fmt.Sprintf("0x%04x", uint16(group))
}

// rsaKeyExchange: suites in which the server's key decrypts and signs nothing.
func rsaKeyExchange(suite uint16) bool {
	switch suite {
	case tls.TLS_RSA_WITH_RC4_128_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA,
		tls.TLS_RSA_WITH_AES_256_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA256, tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_RSA_WITH_AES_256_GCM_SHA384:
		return true
	}
	return false
}
