package nginx

import (
	"context"

	"github.com/backstay/backstay/deploy"
)

// MainFile asks an nginx binary which main configuration file it was built to
// read. Error: a *deploy.CommandError.
func MainFile(ctx context.Context, binary string) (string, error) {
	_, said, err := deploy.Run(ctx, deploy.Command{Argv: []string{binary, "-V"}, Limit: testLimit})
	if err != nil {
		return "", err
	}
	return parseBuild(string(said), "", "").main, nil
}
