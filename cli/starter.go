package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/daemon"
	"github.com/backstay/backstay/finding"
)

// starter is the first configuration that init writes.
type starter struct {
	survey       *daemon.Survey
	contact      string
	now          time.Time
	thumbprint   string // when stateless
	webroots     []string
	certificates []starterCertificate
	wild         []*daemon.Group // groups of wildcards only
}

type starterCertificate struct {
	name   string
	solver string
	group  *daemon.Group
}

// solverStateless is the solver's name in the file.
const solverStateless = "stateless"

func newStarter(survey *daemon.Survey, contact string, now time.Time) *starter {
	starter := &starter{survey: survey, contact: contact, now: now}
	taken := map[string]bool{}
	for index := range survey.Groups {
		group := &survey.Groups[index]
		if len(group.Names) == 0 {
			starter.wild = append(starter.wild, group)
			continue
		}
		name := group.Names[0]
		for number := 2; taken[name]; number++ {
			name = group.Names[0] + "-" + strconv.Itoa(number)
		}
		taken[name] = true
		starter.certificates = append(starter.certificates, starterCertificate{name: name, solver: starter.solver(group.Webroot), group: group})
	}
	return starter
}

// solver is the name of the solver for a document folder, one solver a folder.
func (starter *starter) solver(webroot string) string {
	if webroot == "" {
		return solverStateless
	}
	for index, known := range starter.webroots {
		if known == webroot {
			return webName(index)
		}
	}
	starter.webroots = append(starter.webroots, webroot)
	return webName(len(starter.webroots) - 1)
}

func webName(index int) string {
	if index == 0 {
		return "web"
	}
	return "web" + strconv.Itoa(index+1)
}

// stateless reports whether some certificate needs the web server's own answer.
func (starter *starter) stateless() bool {
	for _, made := range starter.certificates {
		if made.solver == solverStateless {
			return true
		}
	}
	return false
}

// text is the whole file.
func (starter *starter) text() string {
	var text strings.Builder
	say := func(format string, arguments ...any) { fmt.Fprintf(&text, format+"\n", arguments...) }
	say("# Written by `backstay init` on %s from %s.", starter.now.UTC().Format("2006-01-02"), finding.Text(starter.survey.Main))
	say("# After a change: backstay config check, then backstay plan, then backstay apply.")
	say("version: 1\n")
	if starter.contact != "" {
		say("contact: %s\n", strconv.Quote(starter.contact))
	} else {
		say("# The CA writes to this address when something is wrong. Put yours in, and take\n# the # away:\n#contact: ops@example.com\n")
	}
	say("# Let's Encrypt's test CA comes first: wide limits, and certificates that no browser\n" +
		"# trusts, which are therefore not put in the place of trusted ones. When\n" +
		"# `backstay issue NAME` gets one, write letsencrypt instead, and then\n" +
		"# `backstay renew --force NAME` for each certificate.\n" +
		"authorities:\n  letsencrypt-staging: {}\n  #letsencrypt: {}\n")
	starter.solvers(say)
	say("targets:\n  edge: %s\n", starter.target())
	starter.list(say)
	return text.String()
}

func (starter *starter) target() string {
	if starter.survey.Asked {
		return "{kind: nginx}"
	}
	return fmt.Sprintf("{kind: nginx, config: %s}", strconv.Quote(starter.survey.Main))
}

func (starter *starter) solvers(say func(string, ...any)) {
	if len(starter.certificates) == 0 {
		say("solvers:\n  web: {type: http-01, webroot: /var/www/html}\n")
		return
	}
	say("# How a CA is shown that a name is ours.\nsolvers:")
	for index, folder := range starter.webroots {
		say("  # Answers are files below the folder that nginx serves at port 80.\n  %s: {type: http-01, webroot: %s}", webName(index), strconv.Quote(folder))
	}
	if starter.stateless() {
		say("  # nginx answers by itself, for any token: nothing to write, to clean up or to lose.\n" +
			"  # It needs this text in the server block of port 80 (see each certificate below);\n" +
			"  # `backstay init --snippet` prints it. The long word is the thumbprint of our\n" +
			"  # account key, the same for all CAs; it is no secret.")
		for line := range strings.Lines(daemon.NginxSnippet(starter.thumbprint)) {
			say("  #     %s", strings.TrimSuffix(line, "\n"))
		}
		say("  %s: {type: http-01, stateless: true}", solverStateless)
	}
	say("")
}

func (starter *starter) list(say func(string, ...any)) {
	if len(starter.certificates) == 0 {
		say("# No TLS server with a name was found. A certificate looks so:")
		say("#  - {name: www, domains: [www.example.com], solvers: [web], deploy: [edge]}\ncertificates: []")
	} else {
		say("certificates:")
	}
	for _, made := range starter.certificates {
		group := made.group
		say("  # %s:%d; %s", finding.Text(group.File), group.Line, present(group))
		if client := otherClient(group.Certificate); client != "" {
			say("  # %s renews this file now. Let nginx include the file that `backstay plan` names instead,\n  # or stop %s for these names before `backstay apply`: two clients must not write one file.", client, client)
		}
		starter.plain(say, made)
		if len(group.Wildcards) > 0 {
			say("  # Also served with it: %s. Wildcards need dns-01: add a solver of that type,\n  # name it here, and add them to the domains.", strings.Join(group.Wildcards, ", "))
		}
		if len(group.Names) > 100 {
			say("  # %d names: most CAs allow 100 in one certificate.", len(group.Names))
		}
		say("  - name: %s\n    domains: [%s]\n    solvers: [%s]\n    deploy: [edge]", strconv.Quote(made.name), strings.Join(quoted(group.Names), ", "), made.solver)
	}
	for _, group := range starter.wild {
		say("  # %s:%d; %s\n  # Wildcards need dns-01. Add a solver of that type, then:", finding.Text(group.File), group.Line, present(group))
		say("  #- name: %s\n  #  domains: [%s]\n  #  solvers: [zone]\n  #  deploy: [edge]", strconv.Quote("_wildcard."+strings.TrimPrefix(group.Wildcards[0], "*.")), strings.Join(quoted(group.Wildcards), ", "))
	}
	for _, left := range starter.survey.Left {
		say("  # Left out: %s (%s:%d): %s.", finding.TextAtMost(left.What, 200), finding.Text(left.File), left.Line, left.Why)
	}
}

// otherClient is the ACME client in whose folder a certificate lies; "" for none.
func otherClient(path string) string {
	for _, one := range []struct{ part, client string }{
		{"/letsencrypt/live/", "certbot"}, {"/.acme.sh/", "acme.sh"}, {"/.lego/", "lego"}, {"/dehydrated/certs/", "dehydrated"}, {"/getssl/", "getssl"},
	} {
		if strings.Contains(path, one.part) {
			return one.client
		}
	}
	return ""
}

// plain says where nginx must answer by itself.
func (starter *starter) plain(say func(string, ...any), made starterCertificate) {
	if made.solver != solverStateless {
		return
	}
	for _, block := range made.group.Plain {
		switch {
		case block.File == "":
			say("  # Needs the text above, and a server block for it: %s.", finding.Text(block.Why))
		case block.AnswersFirst:
			say("  # Needs the text above in the server block at %s:%d. The `return`, `rewrite` or\n"+
				"  # `if` beside it comes first in nginx: move it into `location / { ... }`.", finding.Text(block.File), block.Line)
		default:
			say("  # Needs the text above in the server block at %s:%d.", finding.Text(block.File), block.Line)
		}
	}
}

// present describes the certificate that is served now.
func present(group *daemon.Group) string {
	if group.Present == nil {
		return "the certificate there now: " + finding.TextAtMost(group.Unread, 200)
	}
	return fmt.Sprintf("now by %s, until %s", finding.TextAtMost(group.Present.Issuer.String(), 100), group.Present.NotAfter.UTC().Format("2006-01-02 15:04 MST"))
}

func quoted(names []string) (list []string) {
	for _, name := range names {
		list = append(list, strconv.Quote(name))
	}
	return list
}
