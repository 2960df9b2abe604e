package cert

import (
	"crypto/x509"
	"errors"
	"time"
)

// explain finds out why no path holds. crypto/x509 reports the first thing that
// stopped it, which need not be the cause; so all paths are built here, each is
// judged, and the one that came nearest speaks.
func (t *Trust) explain(leaf *x509.Certificate, others []*x509.Certificate, now time.Time, refusal error) Evaluation {
	if SelfSigned(leaf) && !t.Contains(leaf) {
		return Evaluation{
			Verdict: No, Reason: ReasonSelfSigned, Path: []*x509.Certificate{leaf}, Store: t.name,
			Error: "the certificate is signed with its own key and is not a trusted root",
		}
	}
	search := pathSearch{trust: t, others: others, checks: maxSignatureChecks}
	search.extend([]*x509.Certificate{leaf}, false)
	best := Evaluation{Verdict: Unknown, Reason: ReasonOther, Error: refusal.Error(), Store: t.name}
	bestRank := 0
	for i, path := range search.found {
		judged := t.judge(path, now, refusal)
		rank := path.end.rank()*reasonCount + reasonRank(judged.Reason)
		if i == 0 || rank < bestRank {
			best, bestRank = judged, rank
		}
	}
	return best
}

// pathEnd is where a path stops.
type pathEnd int

const (
	endAnchored pathEnd = iota // at a root of the store
	endUnknown                 // at a self-signed certificate that is not in the store, or at an authority that only a root can have signed
	endMissing                 // at a leaf whose issuer is nowhere
)

func (end pathEnd) rank() int { return int(end) }

type builtPath struct {
	certificates []*x509.Certificate
	weak         bool // a signature below the root uses a broken hash
	end          pathEnd
}

// Bounds of the search; crypto/x509 allows 100 checks as well.
const (
	maxSignatureChecks = 100
	maxPathDepth       = 10
	maxPaths           = 20
)

type pathSearch struct {
	trust  *Trust
	others []*x509.Certificate
	checks int
	found  []builtPath
}

func (s *pathSearch) extend(path []*x509.Certificate, weak bool) {
	if len(s.found) >= maxPaths || len(path) > maxPathDepth {
		return
	}
	top := path[len(path)-1]
	if s.trust.Contains(top) {
		s.add(path, weak, endAnchored)
		return
	}
	extended := false
	follow := func(parent *x509.Certificate) {
		if within(path, parent) || s.checks <= 0 {
			return
		}
		s.checks--
		if how := signedBy(top, parent); how != linkBroken {
			extended = true
			s.extend(append(path[:len(path):len(path)], parent), weak || how == linkWeak)
		}
	}
	for _, root := range s.trust.roots[string(top.RawIssuer)] {
		follow(root.certificate)
	}
	for _, other := range s.others {
		if string(other.RawSubject) == string(top.RawIssuer) {
			follow(other)
		}
	}
	if extended {
		return
	}
	// A chain is sent without its root, so an authority at the top without an
	// issuer is the usual sight of a root that we do not know. Only a lone leaf
	// tells for sure that something is missing.
	if len(path) > 1 || SelfSigned(top) {
		s.add(path, weak, endUnknown)
		return
	}
	s.add(path, weak, endMissing)
}

func (s *pathSearch) add(path []*x509.Certificate, weak bool, end pathEnd) {
	s.found = append(s.found, builtPath{path, weak, end})
}

// within also refuses another certificate of the same authority and key, with
// which cross-signed authorities would go round in circles.
func within(path []*x509.Certificate, candidate *x509.Certificate) bool {
	for _, member := range path {
		if string(member.RawSubject) == string(candidate.RawSubject) &&
			string(member.RawSubjectPublicKeyInfo) == string(candidate.RawSubjectPublicKeyInfo) {
			return true
		}
	}
	return false
}

// judge names what is wrong with one path; the first reason in the order of the
// Reason constants wins.
func (t *Trust) judge(path builtPath, now time.Time, refusal error) Evaluation {
	result := Evaluation{Verdict: No, Path: path.certificates, Anchored: path.end == endAnchored, Store: t.name}
	result.Reason, result.Error = t.fault(path, now)
	switch result.Reason {
	case ReasonNone:
		result.Reason, result.Error = ReasonOther, refusal.Error()
	case ReasonUntrustedRoot:
		if path.end != endAnchored {
			result.Verdict = Unknown
		}
	}
	return result
}

func (t *Trust) fault(path builtPath, now time.Time) (Reason, string) {
	leaf, above := path.certificates[0], path.certificates[1:]
	if path.end == endMissing {
		return ReasonIncomplete, "the issuer " + distinguishedName(leaf.RawIssuer) + " was not sent and is not known"
	}
	for _, authority := range above {
		if outside(authority, now) {
			return ReasonIntermediateExpired, distinguishedName(authority.RawSubject) + " is valid from " +
				authority.NotBefore.UTC().Format(time.RFC3339) + " to " + authority.NotAfter.UTC().Format(time.RFC3339)
		}
	}
	constraint := pathConstraint(path.certificates)
	if constraint == ReasonNameConstraints {
		return constraint, "an authority of the chain may not issue for a name of the certificate"
	}
	if constraint == ReasonPathLength || pathTooLong(path) {
		return ReasonPathLength, "the chain is longer than one of its authorities allows, or a signer is no authority"
	}
	if path.end == endUnknown {
		top := path.certificates[len(path.certificates)-1]
		return ReasonUntrustedRoot, "the chain ends at " + distinguishedName(top.RawIssuer) + ", which is not in the store " + t.name
	}
	root, _ := t.find(path.certificates[len(path.certificates)-1])
	if root.constraint != nil {
		if err := root.constraint(path.certificates); err != nil {
			return ReasonUntrustedRoot, err.Error()
		}
	}
	switch {
	case path.weak:
		return ReasonWeakSignature, "a signature of the chain uses MD5 or SHA-1"
	case constraint == ReasonNotForServers:
		return constraint, "the certificate, or an authority of its chain, is not for servers"
	case outside(leaf, now):
		return ReasonLeafDates, "the certificate is valid from " + leaf.NotBefore.UTC().Format(time.RFC3339) +
			" to " + leaf.NotAfter.UTC().Format(time.RFC3339)
	}
	return ReasonNone, ""
}

func outside(certificate *x509.Certificate, now time.Time) bool {
	return now.Before(certificate.NotBefore) || now.After(certificate.NotAfter)
}

// pathTooLong checks basic constraints by RFC 5280 section 6.1.4 (k) to (m):
// self-issued authorities do not count. A root of the store is trusted as it is.
func pathTooLong(path builtPath) bool {
	below := 0
	for i, authority := range path.certificates[1:] {
		last := i == len(path.certificates)-2
		if (!authority.BasicConstraintsValid || !authority.IsCA) && !(last && path.end == endAnchored) {
			return true
		}
		if authority.BasicConstraintsValid && authority.MaxPathLen >= 0 && below > authority.MaxPathLen {
			return true
		}
		if !SelfIssued(authority) {
			below++
		}
	}
	return false
}

// pathConstraint asks crypto/x509 about this path alone, at an instant at which
// all its members are valid, so that dates do not hide the constraints. Where no
// such instant exists, or a hash is refused, nothing can be said.
func pathConstraint(path []*x509.Certificate) Reason {
	if len(path) < 2 {
		return ReasonNone
	}
	instant := path[0].NotBefore
	for _, member := range path {
		if member.NotBefore.After(instant) {
			instant = member.NotBefore
		}
	}
	for _, member := range path {
		if outside(member, instant) {
			return ReasonNone
		}
	}
	top := len(path) - 1
	_, err := path[0].Verify(x509.VerifyOptions{
		Roots: poolOf(path[top:]), Intermediates: poolOf(path[1:top]), CurrentTime: instant,
	})
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) {
		return ReasonNone
	}
	switch invalid.Reason {
	case x509.CANotAuthorizedForThisName, x509.TooManyConstraints, x509.UnconstrainedName, x509.NameConstraintsWithoutSANs:
		return ReasonNameConstraints
	case x509.TooManyIntermediates, x509.NotAuthorizedToSign:
		return ReasonPathLength
	case x509.IncompatibleUsage, x509.CANotAuthorizedForExtKeyUsage:
		return ReasonNotForServers
	}
	return ReasonNone
}

const reasonCount = 12

// reasonRank orders the faults of paths that end alike: the later in this list,
// the farther from being trusted.
func reasonRank(reason Reason) int {
	for i, each := range [...]Reason{
		ReasonLeafDates, ReasonNotForServers, ReasonWeakSignature, ReasonOther, ReasonUntrustedRoot,
		ReasonPathLength, ReasonNameConstraints, ReasonIntermediateExpired, ReasonIncomplete, ReasonSelfSigned,
	} {
		if each == reason {
			return i
		}
	}
	return reasonCount - 1
}
