package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

var (
	targetKinds      = []string{"nginx", "files"}
	laterTargetKinds = []string{"apache", "haproxy", "caddy", "traefik", "postfix", "dovecot", "ssh", "kubernetes", "envoy-sds"}

	targetKeys = keys{
		owner: "a target",
		known: []string{"kind", "config", "prefix", "binary", "pid", "cert", "key", "mode", "owner", "reload", "reload_every", "verify"},
		later: []string{"socket"},
	}
	targetKindKeys = map[string][]string{
		"nginx": {"kind", "config", "prefix", "binary", "pid", "reload", "reload_every", "verify"},
		"files": {"kind", "cert", "key", "mode", "owner", "reload", "reload_every", "verify"},
	}
)

// reloadEvery is the time in which a target is reloaded at most once, unless
// its configuration says otherwise.
const reloadEvery = 30 * time.Second

func (draft *draft) readTargets(in *reader, node ast.Node) {
	found, _ := in.entries(node, "targets")
	for _, each := range found {
		if draft.define("target", each) {
			draft.config.Targets[each.key] = draft.target(in, each)
		}
	}
}

func (draft *draft) target(in *reader, entry field) Target {
	target := Target{Name: entry.key, Position: entry.at, ReloadEvery: reloadEvery}
	problems := len(in.all.problems)
	found := in.fields(entry.value, targetKeys)
	target.Kind = in.kind(entry, found, "kind", "target kind", targetKinds, laterTargetKinds, len(in.all.problems) > problems)
	if target.Kind == "" {
		return target
	}
	found = in.belonging(found, targetKindKeys[target.Kind], "a target of kind", target.Kind)
	for _, each := range found {
		in.targetField(&target, each)
	}
	if target.Kind == "files" {
		in.needs(entry, found, "a target of kind files", "cert", "key")
	}
	return target
}

func (in *reader) targetField(target *Target, each field) {
	switch each.key {
	case "config":
		target.Config = in.absolute(each.value, "config")
	case "prefix":
		target.Prefix = in.absolute(each.value, "prefix")
	case "binary":
		if written, ok := in.word(each.value, "binary"); ok {
			target.Binary = written.value
			// A bare name is looked up in PATH; a relative path would depend on
			// the folder we were started in.
			if strings.Contains(written.value, "/") && !strings.HasPrefix(written.value, "/") {
				in.all.add(written.at, PathRelative, "binary", written.value)
			}
		}
	case "pid":
		target.PID = in.absolute(each.value, "pid")
	case "cert":
		target.Cert = in.absolute(each.value, "cert")
	case "key":
		target.Key = in.absolute(each.value, "key")
	case "mode":
		target.Mode = in.mode(each.value)
	case "owner":
		if written, ok := in.word(each.value, "owner"); ok {
			target.Owner = written.value
			if !validOwner(written.value) {
				in.all.add(written.at, OwnerSyntax, written.value)
			}
		}
	case "reload":
		target.Reload = in.reload(each.value)
	case "reload_every":
		target.ReloadEvery = in.duration(each.value, "reload_every")
	case "verify":
		for _, written := range in.words(each.value, "verify") {
			if !validPlace(written.value) {
				in.all.add(written.at, VerifySyntax, written.value)
			}
			target.Verify = append(target.Verify, written.value)
		}
	}
}

// absolute reads a path that begins with a slash.
func (in *reader) absolute(node ast.Node, what string) string {
	written, ok := in.word(node, what)
	if ok && !strings.HasPrefix(written.value, "/") {
		in.all.add(written.at, PathRelative, what, written.value)
	}
	return written.value
}

// mode reads a file mode. It must be in quotes: YAML 1.2 takes a bare 0640 for
// six hundred and forty.
func (in *reader) mode(node ast.Node) string {
	value, isText := scalar(node)
	octal := isText && (len(value) == 3 || len(value) == 4 && value[0] == '0') && strings.Trim(value, "01234567") == ""
	if octal {
		return value
	}
	switch node.(type) {
	case *ast.MappingNode, *ast.SequenceNode, nil, *ast.NullNode:
		in.wrong(node, "mode", "text")
	default:
		in.all.add(in.from.position(node), ModeSyntax, fmt.Sprintf("%q", node.GetToken().Value))
	}
	return ""
}

// validOwner accepts USER, USER:GROUP and :GROUP, names or numbers.
func validOwner(written string) bool {
	user, group, both := strings.Cut(written, ":")
	valid := func(name string) bool {
		return name != "" && name[0] != '-' && !strings.ContainsAny(name, ":/ \t\\\"'")
	}
	if both {
		return (user == "" || valid(user)) && valid(group)
	}
	return valid(user)
}

// validPlace is a first look at an endpoint; the stage that dials it knows the
// whole grammar.
func validPlace(written string) bool {
	if scheme, rest, found := strings.Cut(written, "://"); found {
		if scheme == "" || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
		written = rest
	}
	return written != "" && !strings.ContainsAny(written, " \t/\\\"'<>")
}

// reload reads unit:NAME, none, or a command as a list.
func (in *reader) reload(node ast.Node) Reload {
	if _, isList := node.(*ast.SequenceNode); isList {
		return Reload{Argv: in.argv(node, "reload")}
	}
	written, ok := in.word(node, "reload")
	if !ok {
		return Reload{}
	}
	unit, isUnit := strings.CutPrefix(written.value, "unit:")
	switch {
	case written.value == "none":
		return Reload{None: true}
	case isUnit:
		if !validUnit(unit) {
			in.all.add(written.at, UnitSyntax, unit)
		}
		return Reload{Unit: unit}
	case strings.ContainsAny(written.value, " \t"):
		in.all.add(written.at, ReloadString, written.value).Remedy = "write " + listForm(strings.Fields(written.value))
	default:
		problem := in.all.add(written.at, ReloadSyntax, written.value)
		problem.Remedy = "a command is a list: " + listForm([]string{written.value})
	}
	return Reload{}
}

// listForm writes words as the YAML list that was wanted.
func listForm(words []string) string {
	quoted := make([]string, len(words))
	for index, word := range words {
		quoted[index] = fmt.Sprintf("%q", word)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// validUnit is systemd.unit(5): letters, digits and ":-_.\@". A leading hyphen
// could be taken for an option.
func validUnit(name string) bool {
	if name == "" || len(name) > 255 || name[0] == '-' {
		return false
	}
	for _, letter := range name {
		if !strings.ContainsRune(`abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\@`, letter) {
			return false
		}
	}
	return true
}

// argv reads a command: a list of words, the first one not empty.
func (in *reader) argv(node ast.Node, what string) []string {
	list, ok := node.(*ast.SequenceNode)
	if !ok || len(list.Values) == 0 {
		problem := in.all.add(in.from.position(node), ArgumentList, what)
		if value, isText := scalar(node); isText && strings.TrimSpace(value) != "" {
			problem.Remedy = "write " + listForm(strings.Fields(value)) + "; no shell is involved"
		}
		return nil
	}
	argv := make([]string, 0, len(list.Values))
	for index, value := range list.Values {
		argument, isText := scalar(value)
		switch {
		case !isText || index == 0 && argument == "":
			in.word(value, "each of "+what)
		default:
			argv = append(argv, argument) // an argument may be empty, or hold a line end
		}
	}
	return argv
}
