package cert

import (
	"encoding/asn1"
	"encoding/hex"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// attributeNames are the short names of RFC 4514 section 3 and those of the
// LDAP registry that public certificates use. Others are written dotted, with
// the value as # and hex.
var attributeNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.6": "C",
	"2.5.4.9": "STREET", "0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
	"2.5.4.4": "SN", "2.5.4.5": "SERIALNUMBER", "2.5.4.12": "title", "2.5.4.15": "businessCategory",
	"2.5.4.17": "POSTALCODE", "2.5.4.42": "givenName", "2.5.4.97": "organizationIdentifier",
	"1.2.840.113549.1.9.1": "emailAddress",
}

type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// relativeNameSET is a SET because its name ends so: encoding/asn1's own rule.
type relativeNameSET []attribute

// distinguishedName writes a DER name as RFC 4514 does: last first, in the
// order of the certificate, nothing left out. (pkix.Name keeps no order and
// drops what it does not know.) Bytes that are no name give "".
func distinguishedName(der []byte) string {
	var sequence []relativeNameSET
	if rest, err := asn1.Unmarshal(der, &sequence); err != nil || len(rest) > 0 {
		return ""
	}
	var out strings.Builder
	for i := len(sequence) - 1; i >= 0; i-- {
		if out.Len() > 0 {
			out.WriteByte(',')
		}
		for j, part := range sequence[i] {
			if j > 0 {
				out.WriteByte('+')
			}
			writeAttribute(&out, part)
		}
	}
	return out.String()
}

func writeAttribute(out *strings.Builder, part attribute) {
	identifier := part.Type.String()
	value, readable := stringValue(part.Value)
	name, known := attributeNames[identifier]
	if !known || !readable {
		if !known {
			name = identifier
		}
		out.WriteString(name + "=#" + hex.EncodeToString(part.Value.FullBytes))
		return
	}
	out.WriteString(name + "=")
	writeEscaped(out, value)
}

// writeEscaped follows RFC 4514 section 2.4.
func writeEscaped(out *strings.Builder, value string) {
	for i, r := range value {
		switch {
		case r == 0:
			out.WriteString(`\00`)
			continue
		case strings.ContainsRune(`"+,;<>\`, r),
			i == 0 && (r == '#' || r == ' '),
			r == ' ' && i == len(value)-1:
			out.WriteByte('\\')
		}
		out.WriteRune(r)
	}
}

// stringValue decodes the string types that certificates use. readable is false
// for other types and for bytes that do not fit theirs.
func stringValue(value asn1.RawValue) (text string, readable bool) {
	if value.Class != asn1.ClassUniversal || value.IsCompound {
		return "", false
	}
	switch value.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagNumericString:
		return string(value.Bytes), utf8.Valid(value.Bytes)
	case asn1.TagT61String: // in practice Latin-1
		runes := make([]rune, len(value.Bytes))
		for i, b := range value.Bytes {
			runes[i] = rune(b)
		}
		return string(runes), true
	case asn1.TagBMPString:
		if len(value.Bytes)%2 != 0 {
			return "", false
		}
		units := make([]uint16, 0, len(value.Bytes)/2)
		for i := 0; i < len(value.Bytes); i += 2 {
			units = append(units, uint16(value.Bytes[i])<<8|uint16(value.Bytes[i+1]))
		}
		return string(utf16.Decode(units)), true
	}
	return "", false
}
