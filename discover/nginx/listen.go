package nginx

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// widestRange is how many ports one "listen 8000-8010" may open here.
const widestRange = 1024

// parseListen reads the arguments of a listen directive
// (ngx_http_core_listen, ngx_parse_url). Why is "" when all is well.
func parseListen(module string, arguments []string) (listens []Listen, why string) {
	if len(arguments) == 0 {
		return nil, "no address"
	}
	var options Listen
	for _, argument := range arguments[1:] {
		switch argument {
		case "ssl":
			options.TLS = true
		case "quic":
			options.QUIC, options.TLS = true, true
		case "udp":
			if module == "stream" {
				return nil, "" // DTLS is not looked at
			}
		case "default_server", "default":
			options.Default, options.DefaultWritten = true, true
		case "proxy_protocol":
			options.ProxyProtocol = true
		case "ipv6only=off":
			options.BothFamilies = true
		}
	}
	addresses, why := parseAddress(arguments[0])
	for _, address := range addresses {
		listen := options
		listen.Address = address
		listen.BothFamilies = options.BothFamilies && strings.HasPrefix(address, "[::]:")
		listens = append(listens, listen)
	}
	return listens, why
}

func parseAddress(text string) (addresses []string, why string) {
	if strings.HasPrefix(text, "unix:") {
		return []string{text}, ""
	}
	host, ports := text, "80"
	switch end := strings.LastIndexByte(text, ':'); {
	case strings.HasPrefix(text, "["):
		inner, rest, closed := strings.Cut(text[1:], "]")
		address, err := netip.ParseAddr(inner)
		if !closed || err != nil || !address.Is6() || rest != "" && rest[0] != ':' {
			return nil, fmt.Sprintf("%q is no address", text)
		}
		if host = "[" + address.String() + "]"; rest != "" {
			ports = rest[1:]
		}
	case end >= 0:
		host, ports = text[:end], text[end+1:]
	case onlyPorts(text):
		host, ports = "*", text
	}
	if host == "*" || host == "" {
		host = "0.0.0.0"
	}
	low, high, ok := portRange(ports)
	if !ok || strings.ContainsAny(host, " /\\\"'") {
		return nil, fmt.Sprintf("%q is no address", text)
	}
	if high-low >= widestRange {
		why = fmt.Sprintf("only the first %d ports of %q are looked at", widestRange, text)
		high = low + widestRange - 1
	}
	for port := low; port <= high; port++ {
		addresses = append(addresses, host+":"+strconv.Itoa(port))
	}
	return addresses, why
}

func onlyPorts(text string) bool {
	_, _, ok := portRange(text)
	return ok
}

func portRange(text string) (low, high int, ok bool) {
	from, to, ranged := strings.Cut(text, "-")
	low, err := strconv.Atoi(from)
	if high = low; err == nil && ranged {
		high, err = strconv.Atoi(to)
	}
	return low, high, err == nil && low >= 1 && high <= 65535 && low <= high
}

// share gives every server of one socket what one of them says of it, and finds
// the default server: the one that says so, else the first
// (ngx_http_add_addresses).
func share(servers []Server) {
	type socket struct {
		module, address string
		quic            bool
	}
	together, firsts := map[socket]Listen{}, map[socket][2]int{}
	every := func(do func(socket socket, place [2]int, listen *Listen)) {
		for server := range servers {
			for index := range servers[server].Listens {
				listen := &servers[server].Listens[index]
				do(socket{servers[server].Module, listen.Address, listen.QUIC}, [2]int{server, index}, listen)
			}
		}
	}
	every(func(socket socket, place [2]int, listen *Listen) {
		known, there := together[socket]
		if !there || listen.DefaultWritten && !known.DefaultWritten {
			firsts[socket] = place
		}
		known.TLS = known.TLS || listen.TLS
		known.ProxyProtocol = known.ProxyProtocol || listen.ProxyProtocol
		known.BothFamilies = known.BothFamilies || listen.BothFamilies
		known.DefaultWritten = known.DefaultWritten || listen.DefaultWritten
		together[socket] = known
	})
	every(func(socket socket, place [2]int, listen *Listen) {
		known := together[socket]
		listen.TLS, listen.ProxyProtocol, listen.BothFamilies = known.TLS, known.ProxyProtocol, known.BothFamilies
		listen.Default = firsts[socket] == place
	})
}
