package nginx

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/cert"
	"github.com/backstay/backstay/deploy"
)

// uses is where a configuration uses one managed certificate.
type uses struct {
	form          string
	places        []place
	servers       []int // indices of the server blocks
	throughRecord bool  // the target's own link is one of the places
}

// uses finds the places of a placement. Blocks that include our text are ours
// by their own word; of the others, those whose names the certificate covers.
// Without any there is still one place, our text, waiting to be included.
func (target *Target) uses(configuration Configuration, placement deploy.Placement) (uses, error) {
	text := deploy.Text{State: target.state, Target: target.configured.Name, Name: placement.Name}
	found := uses{form: deploy.FormNone}
	ours := included{text: text}
	plains := map[[2]string]bool{}
	for index, server := range configuration.Servers {
		if pair, includes := target.including(configuration, server, text.Path()); includes {
			ours.found = pair
			found.form = deploy.FormInclude
			found.servers = append(found.servers, index)
			continue
		}
		pair, wanted, err := target.candidate(server, placement)
		if err != nil {
			return uses{}, err
		}
		if !wanted {
			continue
		}
		place, err := target.place(configuration, pair, placement)
		if err != nil {
			return uses{}, err
		}
		if place == nil {
			continue
		}
		found.servers = append(found.servers, index)
		if key := [2]string{pair.Certificate, pair.Key}; !plains[key] {
			plains[key] = true
			found.places = append(found.places, place)
			link, isRecord := place.(record)
			found.throughRecord = found.throughRecord || isRecord && !link.live
		}
	}
	if found.form == deploy.FormInclude || len(found.places) == 0 {
		found.places = append([]place{ours}, found.places...)
	}
	if len(plains) > 0 {
		found.form = deploy.FormLink // the weakest of the places
	}
	return found, nil
}

// including reports whether a server block takes its certificate from our text,
// also when that file is not there yet.
func (target *Target) including(configuration Configuration, server Server, path string) (Pair, bool) {
	for _, pair := range server.Pairs {
		if same(pair.File, path) {
			return pair, true
		}
	}
	if server.includes(path) {
		return Pair{}, true
	}
	inherits := server.Module == "http" && len(server.Pairs) == 0 && server.tls()
	return Pair{}, inherits && slices.ContainsFunc(configuration.Includes, func(written string) bool { return same(written, path) })
}

func (server Server) tls() bool {
	return server.StartTLS != "" || slices.ContainsFunc(server.Listens, func(listen Listen) bool { return listen.TLS })
}

// candidate finds the pair of a server block that the placement should replace.
func (target *Target) candidate(server Server, placement deploy.Placement) (pair Pair, wanted bool, err error) {
	if !server.tls() || !target.suits(server, placement) {
		return Pair{}, false, nil
	}
	var pairs []Pair
	for _, pair := range server.Pairs {
		file := filepath.IsAbs(pair.Certificate) && filepath.IsAbs(pair.Key) && !pair.AtRunTime && !strings.Contains(pair.Key, "$")
		if file && filepath.Dir(pair.File) != deploy.TargetFolder(target.state, target.configured.Name) {
			pairs = append(pairs, pair)
		}
	}
	if len(pairs) > 1 {
		pairs = sameKind(pairs, placement)
	}
	switch len(pairs) {
	case 0:
		return Pair{}, false, nil
	case 1:
		return pairs[0], true, nil
	}
	return Pair{}, false, fmt.Errorf("%s:%d names several certificates and it cannot be told which one %s replaces; include %s instead",
		server.File, server.Line, placement.Name, deploy.Text{State: target.state, Target: target.configured.Name, Name: placement.Name}.Path())
}

// suits reports whether a block should get the certificate: of all that are
// deployed here, the one that covers most of its names, exactly rather than by a
// wildcard. A block without usable names goes by the certificate it has.
func (target *Target) suits(server Server, placement deploy.Placement) bool {
	names := server.plainNames()
	if len(names) == 0 {
		return slices.ContainsFunc(server.Pairs, func(pair Pair) bool {
			if target.holds(pair, placement.Name) {
				return true
			}
			leaf := leafOf(pair)
			return leaf != nil && len(leaf.DNSNames) > 0 &&
				!slices.ContainsFunc(leaf.DNSNames, func(name string) bool { return !coveredBy(placement.Domains, name) })
		})
	}
	best, bestScore := placement.Name, score(names, placement.Domains)
	if bestScore == (fit{}) {
		return false
	}
	for _, other := range target.owners {
		if rival := score(names, other.Domains); bestScore.less(rival) || rival == bestScore && other.Name < best {
			best, bestScore = other.Name, rival
		}
	}
	return best == placement.Name
}

// fit is how well a certificate suits a block.
type fit struct{ covered, exact int }

func (a fit) less(b fit) bool {
	return a.covered < b.covered || a.covered == b.covered && a.exact < b.exact
}

func score(names, domains []string) (fit fit) {
	for _, name := range names {
		if coveredBy(domains, name) {
			fit.covered++
		}
		if slices.Contains(domains, name) {
			fit.exact++
		}
	}
	return fit
}

// sameKind keeps the pairs whose key is of the new certificate's kind: RSA and
// ECDSA stand beside each other in one block.
func sameKind(pairs []Pair, placement deploy.Placement) []Pair {
	chain, _, err := deploy.ReadPair(filepath.Join(placement.Folder, deploy.FullChainFile), filepath.Join(placement.Folder, deploy.KeyFile))
	if err != nil {
		return pairs
	}
	return slices.DeleteFunc(slices.Clone(pairs), func(pair Pair) bool {
		leaf := leafOf(pair)
		return leaf == nil || kind(leaf) != kind(chain[0])
	})
}

func kind(leaf *x509.Certificate) string {
	switch leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		return "rsa"
	case *ecdsa.PublicKey:
		return "ecdsa"
	}
	return "other"
}

func leafOf(pair Pair) *x509.Certificate {
	if !filepath.IsAbs(pair.Certificate) || pair.AtRunTime {
		return nil
	}
	chain, _, err := deploy.ReadPair(pair.Certificate, pair.Key)
	if err != nil {
		return nil
	}
	return chain[0]
}

// place makes the place behind a pair of paths; nil when the paths are another
// managed certificate's.
func (target *Target) place(configuration Configuration, pair Pair, placement deploy.Placement) (place, error) {
	if inside, ok := strings.CutPrefix(filepath.Clean(pair.Certificate), target.state+"/"); ok {
		return target.insidePlace(inside, pair, placement)
	}
	linked := target.linked(pair)
	name, _, _, held := linked.InForce()
	switch {
	case held && name == placement.Name:
		// Ours already: a name that left the certificate since is the operator's wish,
		// and must not keep the other names from being renewed.
		return plain{linked: linked}, nil
	case held && target.deploys(name):
		return nil, nil
	}
	return plain{linked: linked}, target.checkSharing(configuration, pair, placement)
}

func (target *Target) linked(pair Pair) deploy.Linked {
	return deploy.Linked{State: target.state, Certificate: filepath.Clean(pair.Certificate), Key: filepath.Clean(pair.Key)}
}

// holds reports whether a pair of plain paths is switched for name already.
func (target *Target) holds(pair Pair, name string) bool {
	if !filepath.IsAbs(pair.Certificate) || !filepath.IsAbs(pair.Key) {
		return false
	}
	holder, _, _, held := target.linked(pair).InForce()
	return held && holder == name
}

// deploys reports whether a certificate is deployed here; when nobody told us,
// we believe it is.
func (target *Target) deploys(name string) bool {
	for _, certificate := range target.owners {
		if certificate.Name == name {
			return true
		}
	}
	return len(target.owners) == 0
}

// insidePlace is a block that names a path in the state folder.
func (target *Target) insidePlace(inside string, pair Pair, placement deploy.Placement) (place, error) {
	made := record{state: target.state, target: target.configured.Name, name: placement.Name, pair: pair}
	key, _ := strings.CutPrefix(filepath.Clean(pair.Key), target.state+"/")
	for _, prefix := range []string{filepath.Join("targets", target.configured.Name), "live"} {
		made.live = prefix == "live"
		folder := filepath.Join(prefix, placement.Name)
		if filepath.Dir(inside) == folder && filepath.Dir(key) == folder {
			return made, nil
		}
	}
	if strings.HasPrefix(inside, filepath.Join("certs", placement.Name)+"/") {
		return nil, fmt.Errorf("%s:%d names one generation's own file, which no deployment can change; include %s instead",
			pair.File, pair.Line, deploy.Text{State: target.state, Target: target.configured.Name, Name: placement.Name}.Path())
	}
	return nil, nil // another certificate's, or another target's
}

// checkSharing refuses to replace a pair that other names depend on: all blocks
// that open the same files, and the names their certificate covers now.
func (target *Target) checkSharing(configuration Configuration, pair Pair, placement deploy.Placement) error {
	leaf := leafOf(pair)
	if leaf == nil {
		return nil // nothing readable is lost
	}
	for _, server := range configuration.Servers {
		uses := slices.ContainsFunc(server.Pairs, func(other Pair) bool {
			return other.Certificate == pair.Certificate || other.Key == pair.Key
		})
		if !uses || !server.tls() {
			continue
		}
		for _, name := range server.plainNames() {
			if !coveredBy(placement.Domains, name) && leafCovers(leaf, name) {
				return fmt.Errorf("%s:%d answers %q with the same files, which the certificate %s does not cover; give that block files of its own, or add the name to %s",
					server.File, server.Line, name, placement.Name, placement.Name)
			}
		}
	}
	return nil
}

func leafCovers(leaf *x509.Certificate, name string) bool {
	if strings.HasPrefix(name, "*.") {
		return slices.ContainsFunc(leaf.DNSNames, func(own string) bool { return strings.EqualFold(own, name) })
	}
	return cert.MatchesName(leaf, name)
}
