// Package nginx reads nginx configurations: which certificates they declare,
// for which names, on which sockets.
//
// Promise: files are read as nginx reads them (its own rules for words, quotes,
// braces, includes and inheritance), from the output of "nginx -T" or from
// disk; a part that cannot be read is a Problem and does not hide the rest.
// Text is bounded in size, depth and number, and nothing is executed.
//
// Limits: a certificate whose path holds a variable is decided at run time, and
// said so. A configuration file that itself holds a line of the form
// "# configuration file /PATH:" is cut there when it comes out of "nginx -T",
// which does not mark its own lines; read the files instead. Values set by
// "nginx -g" and by other modules' languages (Lua, njs, Perl) are not seen.
package nginx

import (
	"context"
	"fmt"
	"path/filepath"
)

// Configuration is what matters here of a whole nginx configuration.
type Configuration struct {
	Main     string   // path of the main file
	Files    []string // every file that was read, in order of first use
	PIDFile  string   // argument of "pid", "" when there is none; a relative one starts at nginx's prefix
	Servers  []Server
	Includes []string  // include patterns at the http level, absolute
	HTTPEnd  int       // offset in the main file of the brace that closes http; -1 when it is not there
	Unserved []Pair    // declared, but on no TLS socket: client certificates of proxies, leftovers
	Problems []Problem // what could not be read
}

// Problem is one place that could not be read. Text is safe to show.
type Problem struct {
	File string
	Line int
	Text string
}

// Server is one server block.
type Server struct {
	Module   string // http, stream, mail
	File     string
	Line     int
	Names    []string // as written: wildcards, "~" expressions and ".name" included
	Listens  []Listen // never empty for http
	Pairs    []Pair   // its own, else those it inherits
	Includes []string // include paths and patterns written in it, absolute
	StartTLS string   // mail: protocol whose upgrade is offered on sockets without TLS; "" for none
	ToTLS    bool     // it answers "/" by a redirect to https
}

// Listen is one socket of a server.
type Listen struct {
	Address        string // ADDRESS:PORT with 0.0.0.0 and [::] for all addresses, or unix:PATH
	TLS            bool   // also when only another server says so of the same socket
	QUIC           bool   // a UDP socket
	Default        bool   // this server answers names that no server of the socket has
	DefaultWritten bool   // and says so itself
	ProxyProtocol  bool   // clients must send the PROXY header first
	BothFamilies   bool   // [::] with ipv6only=off
}

// Pair is one certificate and its key as a configuration names them.
type Pair struct {
	Certificate string // absolute path; as written when it is decided at run time or is no path
	Key         string
	File        string // where the certificate is named
	Line        int
	Through     []string // the included files that lead there, outermost first
	AtRunTime   bool     // the certificate's path holds a variable
	Purpose     string   // "" for serving, else the directive that names it, such as proxy_ssl_certificate
}

// ParseDump reads the standard output of "nginx -T".
// Error: it is no such output, or is too large.
func ParseDump(text []byte) (Configuration, error) {
	files, main, err := splitDump(string(text))
	if err != nil {
		return Configuration{}, err
	}
	return read(files, main)
}

// ReadFiles reads a configuration from its main file, following includes.
// Error: the main file cannot be read, or ctx ended.
func ReadFiles(ctx context.Context, main string) (Configuration, error) {
	main, err := filepath.Abs(main)
	if err != nil {
		return Configuration{}, err
	}
	return read(disk{ctx: ctx}, main)
}

// UsualPaths lists where the main file is when nobody says otherwise.
func UsualPaths() []string {
	return []string{"/etc/nginx/nginx.conf", "/usr/local/nginx/conf/nginx.conf", "/usr/local/etc/nginx/nginx.conf", "/opt/nginx/conf/nginx.conf"}
}

func read(source source, main string) (Configuration, error) {
	expander := newExpander(source, main)
	list, err := expander.file(main)
	if err != nil {
		return Configuration{}, fmt.Errorf("nginx configuration %s: %w", main, err)
	}
	placed := expander.expand(list, nil, 0)
	if expander.fatal != nil {
		return Configuration{}, expander.fatal
	}
	reading := &reading{expander: expander, configuration: Configuration{Main: main, HTTPEnd: -1}}
	reading.main(placed)
	return reading.finish(), nil
}
