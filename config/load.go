package config

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Options change how a configuration is loaded. The zero value is what the
// program uses.
type Options struct {
	// MaxProblems is how many problems are returned, errors before warnings;
	// one more then tells how many there were. 0 means MaxProblems.
	MaxProblems int
}

// Load reads the configuration at path and conf.d/*.yaml beside it. Relative
// paths inside any of them start at the folder of path.
//
// The problems come in the order of the files and lines. The configuration is
// nil when one of them is an error; Errors counts those. The error is set only
// when a file could not be read; its chain holds the cause (fs.ErrNotExist).
func Load(path string, options Options) (*Config, []Problem, error) {
	paths, passedOver, err := filesOf(path)
	if err != nil {
		return nil, nil, err
	}
	all := &collector{sources: make(map[string]*source), order: make(map[string]int)}
	for index, extra := range passedOver {
		all.order[extra] = len(paths) + index
		all.add(Position{File: extra}, FileExtension)
	}
	base, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, nil, err
	}
	draft := newDraft(base, all)
	for index, each := range paths {
		all.order[each] = index
		from := &source{path: each, main: index == 0}
		from.data, err = readFile(each)
		if errors.Is(err, errTooLarge) {
			all.add(Position{File: each}, FileTooLarge, MaxFileSize>>20)
			draft.broken[each] = true
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("configuration: %w", err)
		}
		all.sources[each] = from
		file, err := fileOf(each, from.data)
		if err != nil {
			return nil, nil, err
		}
		draft.config.Files = append(draft.config.Files, file)
		from.data = bytes.TrimPrefix(from.data, []byte("\ufeff")) // some editors begin a file with it
		draft.read(from)
	}
	draft.resolve()
	limit := options.MaxProblems
	if limit <= 0 {
		limit = MaxProblems
	}
	problems := all.finish(limit)
	if Errors(problems) > 0 {
		return nil, problems, nil
	}
	return draft.config, problems, nil
}

// draft is a configuration while its files are read: references are not
// resolved yet, and what later checks need still has its position.
type draft struct {
	config *Config
	all    *collector
	base   string // absolute folder where relative paths start

	defaults     wishes
	authorities  []string // names in the order written, files in turn
	solvers      []string
	certificates []certificate
	places       map[string]map[string]Position // section -> name -> where defined
	names        map[string][]string            // section -> names, sorted; filled on demand
	broken       map[string]bool                // files whose sections could not be read
}

func newDraft(base string, all *collector) *draft {
	return &draft{
		all:  all,
		base: base,
		config: &Config{
			Solvers: make(map[string]Solver),
			Targets: make(map[string]Target),
		},
		places: map[string]map[string]Position{"authority": {}, "solver": {}, "target": {}},
		names:  make(map[string][]string),
		broken: make(map[string]bool),
	}
}

// The keys of the main file, and what a file of conf.d may add.
var (
	rootKeys = keys{
		owner: "the configuration",
		known: []string{"version", "contact", "authorities", "solvers", "targets", "defaults", "resolvers", "fetch", "proxy", "certificates"},
		later: []string{"database"},
	}
	ignoredKeys = []string{"monitor", "policies", "alerts", "serve"}
	sharedKeys  = []string{"authorities", "solvers", "targets", "certificates"}
)

// read takes one file into the draft.
func (draft *draft) read(from *source) {
	before := len(draft.all.problems)
	in := &reader{from: from, all: draft.all}
	body := parse(from, draft.all)
	if body == nil && len(draft.all.problems) > before {
		draft.broken[from.path] = true // its names are not missing, they are unknown
		return
	}
	versioned := false
	for _, each := range draft.sections(in, body) {
		if !from.main && !contains(sharedKeys, each.key) {
			draft.all.add(each.at, MainFileOnly, each.key)
			continue
		}
		versioned = versioned || each.key == "version"
		draft.section(in, each)
	}
	if from.main && !versioned {
		draft.all.add(from.at(1, 1), VersionMissing)
	}
}

// sections are the known top-level keys; those of later versions that only add
// to what runs give a warning.
func (draft *draft) sections(in *reader, body ast.Node) []field {
	allowed := rootKeys
	allowed.known = append(slices.Clone(rootKeys.known), ignoredKeys...)
	found := in.fields(body, allowed)
	kept := found[:0]
	for _, each := range found {
		if contains(ignoredKeys, each.key) {
			in.from.hideAll(each.value) // channels and tokens may be written out there
			draft.all.add(each.at, IgnoredKey, each.key)
			continue
		}
		kept = append(kept, each)
	}
	return kept
}

func (draft *draft) section(in *reader, each field) {
	config := draft.config
	switch each.key {
	case "version":
		config.Version = in.version(each.value)
	case "contact":
		config.Contact = in.contact(each.value)
	case "authorities":
		draft.readAuthorities(in, each.value)
	case "solvers":
		draft.readSolvers(in, each.value)
	case "targets":
		draft.readTargets(in, each.value)
	case "defaults":
		draft.defaults = in.wishes(each.value, defaultsKeys)
	case "resolvers":
		config.Resolvers = in.addressPorts(each.value, "resolvers")
	case "fetch":
		config.Fetch = in.fetch(each.value)
	case "proxy":
		config.Proxy = in.proxy(each.value)
	case "certificates":
		draft.readCertificates(in, each.value)
	}
}

// define records where a named entry stands. false: the name is bad or taken,
// which is reported.
func (draft *draft) define(section string, each field) bool {
	if !validName(each.key) {
		draft.all.add(each.at, NameSyntax, section, each.key)
		// Still defined: a reference to it is not a second mistake.
	}
	places := draft.places[section]
	if first, taken := places[each.key]; taken {
		draft.all.add(each.at, EntryTwice, section, each.key, first)
		return false
	}
	places[each.key] = each.at
	return true
}

// path makes a path absolute, from the folder of the configuration.
func (draft *draft) path(written string) string {
	if written == "" || filepath.IsAbs(written) {
		return written
	}
	return filepath.Join(draft.base, written)
}

// validName is the rule for names of authorities, solvers, targets and
// certificates: [a-z0-9][a-z0-9._-]*. They become file names.
func validName(name string) bool {
	if name == "" || len(name) > longestName || strings.ContainsRune("._-", rune(name[0])) {
		return false
	}
	for _, letter := range name {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789._-", letter) {
			return false
		}
	}
	return true
}

// longestName leaves room for endings within the 255 bytes of a file name.
const longestName = 200
