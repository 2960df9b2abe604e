package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/deploy/nginx"
	"github.com/backstay/backstay/discover/files"
	discover "github.com/backstay/backstay/discover/nginx"
)

// Survey is what was found on this host, for a first configuration.
type Survey struct {
	Server string // "nginx"
	Main   string // its main configuration file
	Asked  bool   // the binary itself named Main
	Groups []Group
	Left   []LeftOut
	// Problems are places of the configuration that could not be read; safe to show.
	Problems []string
}

// Group is the names that one certificate serves now.
type Group struct {
	Names       []string // in the order written; wildcards not among them
	Wildcards   []string // names that only dns-01 can prove
	File        string   // where the first of its server blocks is
	Line        int
	Certificate string            // path, as nginx opens it
	Present     *x509.Certificate // nil when it could not be read
	Unread      string            // why not
	// Webroot is the folder from which port 80 serves the answers of http-01 for
	// all names; "" when there is none, and Plain then says where nginx could
	// answer by itself.
	Webroot string
	Plain   []PlainBlock
}

// PlainBlock is a server block that answers names at port 80.
type PlainBlock struct {
	File         string // "" when no block does
	Line         int
	AnswersFirst bool // it redirects before a location is looked for
	Why          string
}

// LeftOut is a name or a block that is not in the configuration, and why.
type LeftOut struct {
	What, Why, File string
	Line            int
}

// ErrNoServer is returned when no web server that can be read was found.
var ErrNoServer = errors.New("no nginx was found on this host")

// SurveyNginx reads the configuration of nginx: main, or the file that the
// installed binary names, or one of the usual paths. Nothing is changed, and a
// certificate that this user may not read is only less well described.
// Errors: ErrNoServer, or that the main file cannot be read.
func SurveyNginx(ctx context.Context, main string) (*Survey, error) {
	survey := &Survey{Server: "nginx", Main: absoluteMain(main)}
	if main == "" {
		survey.Main, survey.Asked = findNginx(ctx)
	}
	if survey.Main == "" {
		return nil, ErrNoServer
	}
	read, err := discover.ReadFiles(ctx, survey.Main)
	if err != nil {
		return nil, err
	}
	challenges, err := discover.ReadChallenges(ctx, survey.Main)
	if err != nil {
		return nil, err
	}
	survey.Main = read.Main
	for _, problem := range read.Problems {
		survey.Problems = append(survey.Problems, fmt.Sprintf("%s:%d: %s", problem.File, problem.Line, problem.Text))
	}
	for index := range read.Servers {
		survey.take(&read.Servers[index])
	}
	survey.Groups = slices.DeleteFunc(survey.Groups, func(group Group) bool { return len(group.Names)+len(group.Wildcards) == 0 })
	joined := byServer(read.Servers, challenges)
	for index := range survey.Groups {
		survey.Groups[index].look(ctx)
		survey.Groups[index].plain(read.Servers, joined)
	}
	return survey, nil
}

// findNginx asks the binary, else tries the usual paths.
func findNginx(ctx context.Context) (main string, asked bool) {
	binary, err := exec.LookPath("nginx")
	for _, usual := range []string{"/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/local/nginx/sbin/nginx"} {
		if _, missing := os.Stat(usual); err != nil && missing == nil {
			binary, err = usual, nil
		}
	}
	if err == nil {
		if main, err := nginx.MainFile(ctx, binary); err == nil {
			if _, err := os.Stat(main); !errors.Is(err, fs.ErrNotExist) {
				return main, true
			}
		}
	}
	for _, main := range discover.UsualPaths() {
		if _, err := os.Stat(main); err == nil {
			return main, false
		}
	}
	return "", false
}

// take adds a server block's names to the group of its certificate.
func (survey *Survey) take(server *discover.Server) {
	leave := func(what, why string) {
		if !slices.ContainsFunc(survey.Left, func(one LeftOut) bool { return one.What == what && one.Why == why }) {
			survey.Left = append(survey.Left, LeftOut{What: what, Why: why, File: server.File, Line: server.Line})
		}
	}
	if !slices.ContainsFunc(server.Listens, func(listen discover.Listen) bool { return listen.TLS }) || len(server.Pairs) == 0 {
		return // plain, or it refuses every handshake
	}
	switch {
	case server.Module != "http":
		leave("a "+server.Module+" server", "only http servers are taken up by init")
		return
	case server.Pairs[0].AtRunTime:
		leave(strings.Join(server.Names, " "), "its certificate is chosen at run time")
		return
	}
	group := survey.group(server)
	for _, written := range server.Names {
		names := []string{written}
		if rest, dotted := strings.CutPrefix(written, "."); dotted {
			names = []string{rest, "*." + rest}
		}
		for _, name := range names {
			bare, wildcard := strings.CutPrefix(strings.ToLower(name), "*.")
			ascii, why := issuable(bare)
			switch {
			case why == "no name": // "" and "_" stand for none
			case why != "":
				leave(name, why)
			case wildcard && !slices.Contains(group.Wildcards, "*."+ascii):
				group.Wildcards = append(group.Wildcards, "*."+ascii)
			case !wildcard && !slices.Contains(group.Names, ascii):
				group.Names = append(group.Names, ascii)
			}
		}
	}
}

// group is that of the block's certificate.
func (survey *Survey) group(server *discover.Server) *Group {
	path := server.Pairs[0].Certificate
	for index := range survey.Groups {
		if survey.Groups[index].Certificate == path {
			return &survey.Groups[index]
		}
	}
	survey.Groups = append(survey.Groups, Group{Certificate: path, File: server.File, Line: server.Line})
	return &survey.Groups[len(survey.Groups)-1]
}

// ownDomains are those that no public CA issues for (RFC 2606, 6761, 6762, 7686,
// 8375, 9476, and habit).
var ownDomains = []string{"localhost", "local", "test", "example", "invalid", "internal", "lan", "home", "corp", "localdomain", "home.arpa", "onion", "alt"}

// issuable brings a name into the form of a certificate, or says why a public CA
// would issue none for it.
func issuable(name string) (ascii, why string) {
	switch {
	case name == "" || name == "_":
		return "", "no name"
	case strings.HasPrefix(name, "~"):
		return "", "an expression: name the hosts that are meant"
	case strings.ContainsAny(name, "*$"):
		return "", "not one name"
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return "", "an IP address"
	}
	ascii, err := cert.HostName(name)
	if err != nil || strings.ContainsAny(ascii, "_ ") || ascii == "" {
		return "", "not a host name that a certificate can hold"
	}
	if !strings.Contains(ascii, ".") {
		return "", "a name without a dot: no public CA issues for it"
	}
	for _, own := range ownDomains {
		if strings.HasSuffix(ascii, "."+own) {
			return "", "no public CA issues for ." + own
		}
	}
	return ascii, ""
}

// look reads the certificate that is there now.
func (group *Group) look(ctx context.Context) {
	err := files.Find(ctx, []string{group.Certificate}, func(seen cert.FileObservation) {
		if group.Present == nil {
			group.Present = seen.Certificate
		}
	})
	if group.Present != nil {
		return
	}
	file, opening := os.OpenFile(group.Certificate, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a named pipe must not hold us
	if opening == nil {
		file.Close()
	}
	switch {
	case errors.Is(opening, fs.ErrPermission):
		group.Unread = "this user may not read it"
	case errors.Is(opening, fs.ErrNotExist):
		group.Unread = "it is not there"
	case err != nil:
		group.Unread = err.Error()
	default:
		group.Unread = "it cannot be read as a certificate"
	}
}

// byServer joins two readings of the same files: both list the http blocks in
// order. A line is no key, because two blocks may stand on one.
func byServer(servers []discover.Server, challenges []discover.Challenge) map[*discover.Server]*discover.Challenge {
	joined, next := map[*discover.Server]*discover.Challenge{}, 0
	for index := range servers {
		if server := &servers[index]; server.Module == "http" {
			if next < len(challenges) && challenges[next].File == server.File && challenges[next].Line == server.Line {
				joined[server] = &challenges[next]
			}
			next++
		}
	}
	return joined
}

// plain finds how the names answer at port 80, where http-01 looks.
func (group *Group) plain(servers []discover.Server, challenges map[*discover.Server]*discover.Challenge) {
	folders := map[string]bool{}
	for _, name := range group.Names {
		block, folder := PlainBlock{Why: "no server block answers " + name + " at port 80"}, ""
		if server := plainServer(servers, name); server != nil {
			block = PlainBlock{File: server.File, Line: server.Line}
			if challenge := challenges[server]; challenge != nil {
				folder, block.Why, block.AnswersFirst = challenge.Folder, challenge.Why, challenge.AnswersFirst
			}
			if info, err := os.Stat(folder); folder != "" && (err != nil || !info.IsDir()) {
				folder, block.Why = "", "its root "+folder+" is no folder"
			}
		}
		folders[folder] = true
		group.Webroot = folder
		if !slices.Contains(group.Plain, block) {
			group.Plain = append(group.Plain, block)
		}
	}
	if len(folders) != 1 {
		group.Webroot = "" // one solver must do for all names of a certificate
	}
}

// plainServer is the block that answers a name at port 80: by the name, by a
// wildcard, else the default one.
func plainServer(servers []discover.Server, name string) (found *discover.Server) {
	best := 0
	for index := range servers {
		server := &servers[index]
		for _, listen := range server.Listens {
			_, port, err := net.SplitHostPort(listen.Address)
			if err != nil || port != "80" || listen.TLS || server.Module != "http" {
				continue
			}
			if rank := answers(server.Names, listen.Default, name); rank > best {
				found, best = server, rank
			}
		}
	}
	return found
}

func answers(names []string, otherwise bool, wanted string) (rank int) {
	if otherwise {
		rank = 1
	}
	for _, name := range names {
		name = strings.ToLower(name)
		rest, dotted := strings.CutPrefix(name, ".")
		base, wild := strings.CutPrefix(name, "*.")
		switch {
		case name == wanted || dotted && rest == wanted:
			return 3
		case wild && strings.HasSuffix(wanted, "."+base), dotted && strings.HasSuffix(wanted, "."+rest):
			rank = 2
		}
	}
	return rank
}

// absoluteMain is the file that a person means by a path: a folder's nginx.conf.
func absoluteMain(path string) string {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "nginx.conf")
	}
	return path
}
