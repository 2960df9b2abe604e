package nginx

import "context"

// Reader reads an nginx configuration from its main file, includes followed.
// It may be called often and for one target at a time; it changes nothing. A
// part that cannot be read is left out and hides nothing else.
// Error: the main file cannot be read, or ctx ended.
type Reader func(ctx context.Context, main string) (Configuration, error)

// Configuration is what deploying needs of a configuration.
type Configuration struct {
	Main     string   // path of the main file
	Files    []string // every file that was read
	PIDFile  string   // argument of "pid", "" when there is none
	Servers  []Server
	Includes []string // include patterns at the http level, absolute
	HTTPEnd  int      // offset in the main file of the brace that closes http; -1 when it is not there
}

// Server is one server block.
type Server struct {
	Module   string // http, stream, mail
	File     string
	Line     int
	Names    []string // as written
	Listens  []Listen
	Pairs    []Pair   // its own, else those it inherits
	Includes []string // include paths and patterns written in it, absolute
	StartTLS string   // mail: protocol whose upgrade is offered on sockets without TLS
	ToTLS    bool     // it answers "/" by a redirect to https
}

// Listen is one socket of a server.
type Listen struct {
	Address        string // ADDRESS:PORT with 0.0.0.0 and [::] for all addresses, or unix:PATH
	TLS            bool
	QUIC           bool
	Default        bool // this server answers names that no server of the socket has
	DefaultWritten bool // and says so itself
	ProxyProtocol  bool
	BothFamilies   bool // [::] with ipv6only=off
}

// Pair is one certificate and its key as the configuration names them.
type Pair struct {
	Certificate string // absolute path, or text that is none
	Key         string
	File        string // where the certificate is named
	Line        int
	Through     []string // included files that lead there, outermost first
	AtRunTime   bool
	Purpose     string // "" for serving
}
