package authority

import (
	"crypto"
	"crypto/x509"
	"io"
	"net"
	"time"

	"github.com/backstay/backstay/testbed/pki"
)

// issuer signs leaves. All intermediates have one name and one key, each signed
// by another root: that is how alternate chains of one leaf exist.
type issuer struct {
	roots         []*pki.Issuer
	intermediates []*pki.Issuer
	stranger      *pki.Issuer // of nobody's tree, for ChainForeign
}

func newIssuer(config Config) (*issuer, error) {
	key, err := pki.NewKey("")
	if err != nil {
		return nil, err
	}
	// Old enough for backdated leaves, young enough for decades of drills.
	from := config.Now().AddDate(-1, 0, 0)
	until := from.AddDate(30, 0, 0)
	made := &issuer{}
	for index := 0; index <= config.AlternateRoots; index++ {
		name := config.Name + " Root"
		if index > 0 {
			name += " X" + string(rune('0'+index%10))
		}
		root, err := pki.Root(pki.Options{CommonName: name, Organization: config.Name, NotBefore: from, NotAfter: until})
		if err != nil {
			return nil, err
		}
		intermediate, err := root.Intermediate(pki.Options{
			CommonName: config.Name + " Intermediate", Organization: config.Name, Key: key, NotBefore: from, NotAfter: until,
		})
		if err != nil {
			return nil, err
		}
		made.roots = append(made.roots, root)
		made.intermediates = append(made.intermediates, intermediate)
	}
	strangerRoot, err := pki.Root(pki.Options{CommonName: "Stranger Root", NotBefore: from, NotAfter: until})
	if err != nil {
		return nil, err
	}
	made.stranger, err = strangerRoot.Intermediate(pki.Options{CommonName: "Stranger Intermediate", NotBefore: from, NotAfter: until})
	return made, err
}

// leaf signs what a checked order asked for; sabotage is the fault to commit, or "".
func (issuer *issuer) leaf(request *x509.CertificateRequest, names []Identifier, profile Profile, now time.Time, sabotage What) (*x509.Certificate, error) {
	if sabotage == Expired {
		now = now.Add(-profile.Validity - time.Hour)
	}
	notBefore := now.Add(-profile.Backdate)
	options := pki.Options{
		CommonName: request.Subject.CommonName,
		NotBefore:  notBefore,
		NotAfter:   notBefore.Add(profile.Validity - time.Second), // both ends count (RFC 5280 section 4.1.2.5)
		Key:        publicOnly{request.PublicKey},
	}
	if sabotage == WrongKey {
		options.Key = nil
	}
	if sabotage == WrongNames {
		names = []Identifier{{Type: "dns", Value: "wrong.invalid"}}
		options.CommonName = ""
	}
	for _, name := range names {
		if name.Type == "ip" {
			options.IPs = append(options.IPs, net.ParseIP(name.Value))
		} else {
			options.Names = append(options.Names, name.Value)
		}
	}
	pair, err := issuer.intermediates[0].Leaf(options)
	if err != nil {
		return nil, err
	}
	return pair.Certificate, nil
}

// publicOnly lets the builder take a key whose private half we do not have. It
// never signs: the intermediate does.
type publicOnly struct{ public crypto.PublicKey }

func (key publicOnly) Public() crypto.PublicKey { return key.public }

func (publicOnly) Sign(_ io.Reader, _ []byte, _ crypto.SignerOpts) ([]byte, error) {
	panic("authority: a requester's key cannot sign here")
}
