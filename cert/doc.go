// Package cert holds the words for what we protect: certificates, chains, keys,
// names, and the records that other programs read about them.
//
// Promise: bytes that somebody else wrote are parsed under caps (MaxFileBytes,
// MaxCertificateBytes, MaxNames, MaxBlocks) in time linear in their size, and a
// panic of a parser becomes an error of that one item. A name matches a
// certificate as RFC 9525 says and in no other way. CheckIssued lets nothing
// through that is not what was asked for.
//
// Limits: pure. No I/O, no clock, no chance but the reader that is handed in.
// PEM and DER only. Revocation is not looked at. Trust is judged against the
// store that is given; another client may have another.
package cert
