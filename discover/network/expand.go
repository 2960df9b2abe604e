package network

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"strconv"

	"github.com/backstay/backstay/cert"
)

// Bounds on ranges.
const (
	maxUnconfirmed = 1 << 12 // addresses: a /20 of IPv4
	maxAddressBits = 24      // of a range: a /8 of IPv4
)

// private blocks belong to whoever uses them: no confirmation is needed.
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

// Permit says whether the range may be walked. Error: how to get it walked.
func (spec Spec) Permit(confirmed bool) error {
	if !spec.Range {
		return nil
	}
	bits := spec.Prefix.Addr().BitLen() - spec.Prefix.Bits()
	if bits > maxAddressBits {
		return fmt.Errorf("target %q has more than %d addresses; split it", spec.Text, 1<<maxAddressBits)
	}
	if 1<<bits <= maxUnconfirmed || confirmed {
		return nil
	}
	for _, block := range private {
		if block.Bits() <= spec.Prefix.Bits() && block.Contains(spec.Prefix.Addr()) {
			return nil
		}
	}
	return fmt.Errorf("target %q is a public range of %d addresses; scanning it must be confirmed", spec.Text, 1<<bits)
}

// places walks every (address, port) of the spec in an order that follows from
// the seed. addresses are those the host resolved to; a spec with a Prefix needs
// none. Nothing is held but the walk's position.
func (spec Spec) places(addresses []netip.Addr, seed uint64) iter.Seq[cert.Place] {
	hosts := uint64(len(addresses))
	address := func(i uint64) netip.Addr { return addresses[i] }
	if spec.Host == "" {
		hosts = 1 << (spec.Prefix.Addr().BitLen() - spec.Prefix.Bits())
		address = func(i uint64) netip.Addr { return nth(spec.Prefix, i) }
	}
	count := uint64(0)
	for _, ports := range spec.Ports {
		count += uint64(ports.To-ports.From) + 1
	}
	return func(yield func(cert.Place) bool) {
		for i := range shuffled(hosts*count, seed) {
			port, ranged := spec.port(i / hosts)
			if !yield(spec.at(netip.AddrPortFrom(address(i%hosts), port), ranged)) {
				return
			}
		}
	}
}

// port is the nth port of the lists, and whether it is a member of a range.
func (spec Spec) port(n uint64) (port uint16, ranged bool) {
	for _, ports := range spec.Ports {
		size := uint64(ports.To-ports.From) + 1
		if n < size {
			return ports.From + uint16(n), size > 1
		}
		n -= size
	}
	return 0, false
}

// at is the place at one address. Only what the user wrote out is named.
func (spec Spec) at(address netip.AddrPort, ranged bool) cert.Place {
	place := cert.Place{Target: spec.Text, Named: !spec.Range && !ranged, Address: address, Transport: spec.Transport}
	single := len(spec.Ports) == 1 && !ranged
	switch {
	case spec.Name != "":
		place.Name, place.ServerName = spec.Name, spec.Name
		if !single {
			place.Target = spec.Name + "@" + address.String()
		}
	case spec.Host != "":
		place.Name, place.ServerName = spec.Host, spec.Host
		if !single {
			place.Target = spec.Host + ":" + strconv.Itoa(int(address.Port()))
		}
	default:
		if !spec.Range {
			// RFC 9525 matches an address as an address; RFC 6066 section 3 has no
			// address in SNI. In a range nobody asked for this very address.
			place.Name = address.Addr().String()
		}
		if spec.Range || !single {
			place.Target = address.String()
		}
	}
	return place
}

// nth is the nth address of a prefix; n fits in 24 bits.
func nth(prefix netip.Prefix, n uint64) netip.Addr {
	if prefix.Addr().Is4() {
		four := prefix.Addr().As4()
		binary.BigEndian.PutUint32(four[:], binary.BigEndian.Uint32(four[:])+uint32(n))
		return netip.AddrFrom4(four)
	}
	sixteen := prefix.Addr().As16()
	low := binary.BigEndian.Uint64(sixteen[8:])
	binary.BigEndian.PutUint64(sixteen[8:], low+n) // the prefix is masked, so there is no carry
	return netip.AddrFrom16(sixteen)
}
