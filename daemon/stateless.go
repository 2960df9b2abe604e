package daemon

import (
	"context"
	"crypto/rand"
	"os"

	"github.com/backstay/backstay/issue"
	"github.com/backstay/backstay/store"
)

// Thumbprint of the account key that serves all CAs, made if there is none yet:
// what a web server must answer http-01 with by itself. It waits for another
// backstay; waiting is called then.
func Thumbprint(ctx context.Context, state string, waiting func(*store.HeldBy)) (string, error) {
	accounts := AccountsFolder(state)
	if _, err := os.Stat(issue.SharedKeyPath(accounts)); err != nil {
		// Two that make a key at once would each tell another thumbprint.
		lock, err := store.WaitLock(ctx, state, waiting)
		if err != nil {
			return "", err
		}
		defer lock.Release()
	}
	return issue.Thumbprint(accounts, issue.Config{Folder: accounts, Random: rand.Reader})
}

// NginxSnippet is the text for an nginx server block that answers every http-01
// challenge by itself (RFC 8555 section 8.3): the token of the request, and the
// account key's thumbprint. "^~" keeps expressions that deny hidden files out of
// it; a token is base64url (section 8.1).
func NginxSnippet(thumbprint string) string {
	return "location ^~ /.well-known/acme-challenge/ {\n" +
		"    default_type text/plain;\n" +
		"    location ~ \"^/\\.well-known/acme-challenge/([A-Za-z0-9_-]+)$\" {\n" +
		"        return 200 \"$1." + thumbprint + "\";\n" +
		"    }\n" +
		"    return 404;\n" +
		"}\n"
}
