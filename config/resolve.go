package config

import (
	"net/netip"
	"slices"
	"strings"
)

// resolve fills every certificate's wishes with the defaults and follows its
// references. When a file could not be read at all, names defined there are
// unknown rather than missing: nothing that depends on them is reported.
func (draft *draft) resolve() {
	complete := len(draft.broken) == 0
	config := draft.config
	config.Defaults = Defaults{
		Authorities: draft.references("authority", draft.defaults.authorities, draft.authorities, complete),
		Solvers:     draft.references("solver", draft.defaults.solvers, draft.solvers, complete),
		Deploy:      draft.references("target", draft.defaults.deploy, nil, complete),
		Key:         first(draft.defaults.key, "ecdsa-p256"),
		Renew:       first(draft.defaults.renew, "ari"),
		Profile:     draft.defaults.profile,
		OnDeadName:  first(draft.defaults.onDeadName, "hold"),
	}
	for index := range draft.certificates {
		each := &draft.certificates[index]
		draft.fill(each, complete)
		if complete {
			draft.provable(each)
		}
	}
	draft.distinct()
	draft.onePair()
	for _, each := range draft.certificates {
		config.Certificates = append(config.Certificates, each.Certificate)
	}
	slices.SortStableFunc(config.Certificates, func(a, b Certificate) int { return strings.Compare(a.Name, b.Name) })
}

func (draft *draft) fill(each *certificate, complete bool) {
	defaults := draft.config.Defaults
	each.Authorities = draft.references("authority", each.wishes.authorities, defaults.Authorities, complete)
	each.Solvers = draft.references("solver", each.wishes.solvers, defaults.Solvers, complete)
	each.Deploy = draft.references("target", each.wishes.deploy, defaults.Deploy, complete)
	each.Key = first(each.wishes.key, defaults.Key)
	each.Renew = first(each.wishes.renew, defaults.Renew)
	each.Profile = first(each.wishes.profile, defaults.Profile)
	each.OnDeadName = first(each.wishes.onDeadName, defaults.OnDeadName)
}

// references checks a list of names against what is defined. A list that was
// not given takes the fallback.
func (draft *draft) references(section string, wanted []text, fallback []string, complete bool) []string {
	if wanted == nil {
		return slices.Clone(fallback)
	}
	names := make([]string, 0, len(wanted))
	for _, each := range wanted {
		_, defined := draft.places[section][each.value]
		switch {
		case slices.Contains(names, each.value):
			draft.all.add(each.at, ReferenceTwice, section, each.value)
			continue
		case !defined && complete:
			problem := draft.all.add(each.at, ReferenceUndefined, section, each.value)
			if draft.all.crowded() {
				break
			}
			defined := draft.defined(section)
			problem.Meant = Nearest(each.value, defined)
			switch {
			case problem.Meant != "":
			case len(defined) == 0:
				problem.Remedy = "no " + section + " is defined"
			default:
				problem.Remedy = "defined: " + strings.Join(defined[:min(len(defined), 20)], ", ")
			}
		}
		names = append(names, each.value)
	}
	return names
}

// defined lists the well-formed names of a section in alphabetical order; it is
// called when all files have been read.
func (draft *draft) defined(section string) []string {
	if names, known := draft.names[section]; known {
		return names
	}
	names := make([]string, 0, len(draft.places[section]))
	for name := range draft.places[section] {
		if validName(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	draft.names[section] = names
	return names
}

// provable checks that a certificate has an authority, and for each of its
// names a solver that is able to prove it.
func (draft *draft) provable(each *certificate) {
	if len(each.Domains) == 0 {
		return
	}
	if len(each.Authorities) == 0 {
		draft.all.add(each.Position, NoAuthority, each.Name)
	}
	if len(each.Solvers) == 0 {
		draft.all.add(each.Position, NoSolver, each.Name)
		return
	}
	names, addresses := false, false
	for _, name := range each.Solvers {
		switch draft.config.Solvers[name].Type {
		case "dns-01":
			names = true
		case "http-01", "tls-alpn-01":
			addresses = true
		default: // reported already, and it might have been the one that is able
			return
		}
	}
	for index, domain := range each.Domains {
		if strings.HasPrefix(domain, "*.") && !names {
			draft.all.add(each.places[index], DomainWildcard, each.Name, domain)
			break
		}
	}
	for index, domain := range each.Domains {
		if _, err := netip.ParseAddr(domain); err == nil && !addresses {
			draft.all.add(each.places[index], DomainAddress, each.Name, domain)
			break
		}
	}
}

// distinct reports certificates whose names, or whose files, would collide:
// STATE/targets/TARGET holds both NAME and NAME.conf.
func (draft *draft) distinct() {
	places := make(map[string]Position, len(draft.certificates))
	for _, each := range draft.certificates {
		if each.Name == "" {
			continue
		}
		if other, taken := places[each.Name]; taken {
			draft.all.add(each.named, CertificateTwice, each.Name, other)
			continue
		}
		places[each.Name] = each.named
	}
	for _, each := range draft.certificates {
		if stem, found := strings.CutSuffix(each.Name, ".conf"); found {
			if other, taken := places[stem]; taken {
				draft.all.add(each.named, NameClash, each.Name, stem, other)
			}
		}
	}
}

// onePair: a files target is one pair of paths, and a second certificate would
// take them from the first at every deployment.
func (draft *draft) onePair() {
	type taken struct {
		name string
		at   Position
	}
	holders := map[string]taken{}
	for _, each := range draft.certificates {
		for _, target := range each.Deploy {
			if draft.config.Targets[target].Kind != "files" {
				continue
			}
			if holder, is := holders[target]; is && holder.name != each.Name {
				draft.all.add(each.named, TargetTaken, each.Name, holder.name, holder.at, target)
				continue
			}
			holders[target] = taken{each.Name, each.named}
		}
	}
}

func first(value, fallback string) string {
	if value != "" {
		return value
	}
	return fallback
}
