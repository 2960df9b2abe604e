package nginx

import (
	"slices"
	"strings"
)

// reading turns placed statements into a Configuration.
type reading struct {
	expander      *expander
	configuration Configuration
	seen          []Pair // every pair, to find those that no socket serves
}

func (reading *reading) main(list []*statement) {
	for _, statement := range list {
		switch statement.name {
		case "pid":
			reading.configuration.PIDFile = first(statement.arguments)
		case "http":
			if statement.hasBlock && statement.through == nil {
				reading.configuration.HTTPEnd = statement.blockEnd
			}
			reading.module("http", statement.block)
		case "stream", "mail":
			reading.module(statement.name, statement.block)
		}
	}
}

// scope is what a block says about TLS, and what its inner blocks inherit.
type scope struct {
	certificates []*statement
	keys         []*statement
	on           bool   // "ssl on", gone since nginx 1.25.1
	startTLS     bool   // mail
	protocol     string // mail
}

// inherit takes over what a block does not say itself: a list is inherited
// whole or not at all.
func (inner scope) inherit(outer scope) scope {
	if inner.certificates == nil {
		inner.certificates = outer.certificates
	}
	if inner.keys == nil {
		inner.keys = outer.keys
	}
	return inner
}

func (scope *scope) read(statement *statement) {
	switch statement.name {
	case "ssl_certificate":
		scope.certificates = append(scope.certificates, statement)
	case "ssl_certificate_key":
		scope.keys = append(scope.keys, statement)
	case "ssl":
		scope.on = first(statement.arguments) == "on"
	case "starttls":
		scope.startTLS = first(statement.arguments) != "off"
	case "protocol":
		scope.protocol = first(statement.arguments)
	}
}

func (reading *reading) module(name string, list []*statement) {
	var outer scope
	for _, statement := range list {
		outer.read(statement)
		if statement.name == "include" && name == "http" && len(statement.arguments) == 1 {
			reading.configuration.Includes = append(reading.configuration.Includes, reading.expander.absolute(statement.arguments[0]))
		}
	}
	reading.pairs(outer)
	reading.clients(list)
	for _, statement := range list {
		if statement.name == "server" && statement.hasBlock {
			reading.server(name, statement, outer)
		}
	}
}

func (reading *reading) server(module string, block *statement, outer scope) {
	server := Server{Module: module, File: block.file, Line: block.line}
	inner := scope{on: outer.on, startTLS: outer.startTLS, protocol: outer.protocol}
	for _, statement := range block.block {
		inner.read(statement)
		switch statement.name {
		case "listen":
			listens, why := parseListen(module, statement.arguments)
			if why != "" {
				reading.expander.problem(statement.file, statement.line, "listen: %s", why)
			}
			server.Listens = append(server.Listens, listens...)
		case "server_name":
			server.Names = append(server.Names, statement.arguments...)
		case "include":
			if len(statement.arguments) == 1 {
				server.Includes = append(server.Includes, reading.expander.absolute(statement.arguments[0]))
			}
		}
	}
	if len(server.Listens) == 0 && module == "http" {
		server.Listens = []Listen{{Address: "0.0.0.0:80"}} // nginx's default for a master that is root
	}
	for index := range server.Listens {
		server.Listens[index].TLS = server.Listens[index].TLS || inner.on
	}
	if module == "mail" && inner.startTLS {
		server.StartTLS = mailProtocol(inner.protocol, server.Listens)
	}
	reading.clients(block.block)
	server.Pairs = reading.pairs(inner.inherit(outer))
	server.ToTLS = toTLS(block.block)
	reading.configuration.Servers = append(reading.configuration.Servers, server)
}

// mailProtocol is the protocol written, else that of the usual port.
func mailProtocol(written string, listens []Listen) string {
	if written != "" {
		return written
	}
	for _, listen := range listens {
		switch listen.Address[strings.LastIndexByte(listen.Address, ':')+1:] {
		case "25", "587":
			return "smtp"
		case "110":
			return "pop3"
		case "143":
			return "imap"
		}
	}
	return ""
}

// pairs joins certificates and keys by their order, as nginx does.
func (reading *reading) pairs(scope scope) []Pair {
	var pairs []Pair
	for index, certificate := range scope.certificates {
		key := ""
		if index < len(scope.keys) {
			key = first(scope.keys[index].arguments)
		}
		pairs = append(pairs, reading.pair(certificate, key, ""))
	}
	return pairs
}

func (reading *reading) pair(certificate *statement, key, purpose string) Pair {
	pair := Pair{
		Certificate: reading.path(first(certificate.arguments)), Key: reading.path(key),
		File: certificate.file, Line: certificate.line, Through: certificate.through.list(), Purpose: purpose,
	}
	pair.AtRunTime = strings.Contains(pair.Certificate, "$")
	reading.seen = append(reading.seen, pair)
	return pair
}

// path makes a file name absolute, and leaves what is none: text with a
// variable, "data:", "engine:" and "store:".
func (reading *reading) path(name string) string {
	scheme, _, schemed := strings.Cut(name, ":")
	if name == "" || strings.Contains(name, "$") || schemed && slices.Contains([]string{"data", "engine", "store"}, scheme) {
		return name
	}
	return reading.expander.absolute(name)
}

// clients collects the certificates that nginx itself presents to others, at
// this level and in locations; servers are read one by one.
func (reading *reading) clients(list []*statement) {
	keys := map[string]string{}
	for _, statement := range list {
		keys[statement.name] = first(statement.arguments)
	}
	for _, statement := range list {
		if client := strings.HasSuffix(statement.name, "_ssl_certificate"); client && first(statement.arguments) != "" {
			reading.pair(statement, keys[statement.name+"_key"], statement.name)
		}
		if statement.name != "server" {
			reading.clients(statement.block)
		}
	}
}

// toTLS reports whether a plain server sends everybody to https.
func toTLS(list []*statement) bool {
	for _, statement := range list {
		switch statement.name {
		case "return", "rewrite":
			for _, argument := range statement.arguments {
				if strings.HasPrefix(argument, "https://") {
					return true
				}
			}
		case "location":
			if slices.Equal(statement.arguments, []string{"/"}) && toTLS(statement.block) {
				return true
			}
		case "if":
			if toTLS(statement.block) {
				return true
			}
		}
	}
	return false
}

// finish settles what only all servers together decide.
func (reading *reading) finish() Configuration {
	configuration := &reading.configuration
	configuration.Files = reading.expander.order
	configuration.Problems = reading.expander.problems
	share(configuration.Servers)
	served := map[string]bool{}
	for _, server := range configuration.Servers {
		for _, listen := range server.Listens {
			if listen.TLS || server.StartTLS != "" {
				for _, pair := range server.Pairs {
					served[pair.place()] = true
				}
			}
		}
	}
	for _, pair := range reading.seen {
		if place := pair.place(); !served[place] {
			served[place] = true // an inherited pair is seen once a server
			configuration.Unserved = append(configuration.Unserved, pair)
		}
	}
	return *configuration
}

// place tells one naming of a certificate from another.
func (pair Pair) place() string {
	return strings.Join([]string{pair.File, pair.Certificate, pair.Key, pair.Purpose}, "\x00")
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
