package nginx

import (
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Challenge is what one http server block does with a request for the answer of
// an http-01 challenge (RFC 8555 section 8.3).
type Challenge struct {
	File string
	Line int
	// Folder is the document folder that such a file is served from: what a
	// webroot must be. "" when none is, or when that cannot be told.
	Folder string
	Why    string // why Folder is ""
	// AnswersFirst: a "return", "rewrite" or "if" beside the locations is obeyed
	// before any location is looked for, so that a location added there has no
	// effect.
	AnswersFirst bool
}

// challengeExample stands for the path of any answer.
const challengeExample = "/.well-known/acme-challenge/token"

// ReadChallenges reads, for every http server block from the main file on, what
// it does with a challenge. When in doubt a block has no folder.
// Error: the main file cannot be read, or ctx ended.
func ReadChallenges(ctx context.Context, main string) ([]Challenge, error) {
	main, err := filepath.Abs(main)
	if err != nil {
		return nil, err
	}
	expander := newExpander(disk{ctx: ctx}, main)
	list, err := expander.file(main)
	if err != nil {
		return nil, err
	}
	placed := expander.expand(list, nil, 0)
	var all []Challenge
	for _, http := range placed {
		if http.name != "http" {
			continue
		}
		for _, server := range http.block {
			if server.name == "server" && server.hasBlock {
				all = append(all, challengeOf(server, http.block))
			}
		}
	}
	return all, expander.fatal
}

func challengeOf(server *statement, outer []*statement) Challenge {
	made := Challenge{File: server.file, Line: server.line}
	chain := [][]*statement{outer, server.block}
	if made.AnswersFirst = rewrites(server.block); made.AnswersFirst {
		made.Why = "it answers by itself before it looks for files"
		return made
	}
	found, known := locate(server.block)
	if !known {
		made.Why = "an expression of a location cannot be read here"
		return made
	}
	for _, location := range found {
		chain = append(chain, location.block)
	}
	made.Folder, made.Why = documents(chain)
	return made
}

// rewrites reports whether a block answers or rewrites such a request before a
// location is looked for (ngx_http_rewrite_module).
func rewrites(list []*statement) bool {
	return slices.ContainsFunc(list, func(one *statement) bool {
		switch one.name {
		case "return":
			return true
		case "rewrite":
			expression, err := regexp.Compile(first(one.arguments))
			return err != nil || expression.MatchString(challengeExample)
		case "if":
			return rewrites(one.block) || slices.ContainsFunc(one.block, func(inner *statement) bool { return inner.name == "break" })
		}
		return false
	})
}

// locate finds the locations, outermost first, that nginx would choose
// (ngx_http_core_find_location): the longest prefix, what is nested in it, and
// unless "^~" forbids it the first expression that matches. known is false when
// an expression is only PCRE's to understand.
func locate(list []*statement) (chosen []*statement, known bool) {
	var best *statement
	longest, noExpressions := -1, false
	for _, one := range list {
		modifier, path, ok := locationOf(one)
		if ok && (modifier == "" || modifier == "^~") && len(path) > longest && strings.HasPrefix(challengeExample, path) {
			best, longest, noExpressions = one, len(path), modifier == "^~"
		}
	}
	if best != nil {
		inner, known := locate(best.block)
		if !known {
			return nil, false
		}
		chosen = append([]*statement{best}, inner...)
		if len(inner) > 0 && strings.HasPrefix(first(inner[len(inner)-1].arguments), "~") {
			return chosen, true
		}
	}
	if noExpressions {
		return chosen, true
	}
	for _, one := range list {
		modifier, path, ok := locationOf(one)
		if !ok || !strings.HasPrefix(modifier, "~") {
			continue
		}
		if modifier == "~*" {
			path = "(?i)" + path
		}
		expression, err := regexp.Compile(path)
		if err != nil {
			return nil, false
		}
		if expression.MatchString(challengeExample) {
			inner, known := locate(one.block)
			return append([]*statement{one}, inner...), known
		}
	}
	return chosen, true
}

// locationOf takes a location's arguments apart; nginx also reads the modifier
// when it is written onto the path.
func locationOf(one *statement) (modifier, path string, ok bool) {
	if one.name != "location" || !one.hasBlock {
		return "", "", false
	}
	switch len(one.arguments) {
	case 2:
		return one.arguments[0], one.arguments[1], true
	case 1:
		for _, modifier := range []string{"=", "^~", "~*", "~"} {
			if rest, cut := strings.CutPrefix(one.arguments[0], modifier); cut {
				return modifier, rest, true
			}
		}
		return "", one.arguments[0], true
	}
	return "", "", false
}

// handlers answer a request otherwise than by a file.
var handlers = []string{"proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass", "alias", "internal", "empty_gif", "stub_status", "content_by_lua_block", "content_by_lua_file", "js_content", "perl"}

// documents is the root in force at the end of a chain of blocks.
func documents(chain [][]*statement) (folder, why string) {
	for depth, list := range chain {
		last := depth == len(chain)-1
		for _, one := range list {
			switch {
			case one.name == "root":
				folder = first(one.arguments)
			case one.name == "deny", one.name == "auth_request", one.name == "auth_basic" && first(one.arguments) != "off":
				return "", "it does not let everybody in (" + one.name + ")"
			case last && depth > 1 && rewrites([]*statement{one}):
				return "", "it answers such requests by itself"
			case last && slices.Contains(handlers, one.name):
				return "", "it answers such requests by " + one.name
			case last && one.name == "try_files" && !strings.HasPrefix(first(one.arguments), "$uri"):
				return "", "it looks for other files first (try_files)"
			}
		}
	}
	switch {
	case folder == "":
		return "", "it names no root"
	case !filepath.IsAbs(folder) || strings.Contains(folder, "$"):
		return "", "its root is not one fixed folder"
	}
	return filepath.Clean(folder), ""
}
