package daemon

import (
	"context"

	"github.com/backstay/backstay/deploy/nginx"
	discover "github.com/backstay/backstay/discover/nginx"
)

// readNginx lets package deploy/nginx see what package discover/nginx reads:
// the stages do not know each other.
func readNginx(ctx context.Context, main string) (nginx.Configuration, error) {
	found, err := discover.ReadFiles(ctx, main)
	configuration := nginx.Configuration{Main: found.Main, Files: found.Files, PIDFile: found.PIDFile, Includes: found.Includes, HTTPEnd: found.HTTPEnd}
	for _, server := range found.Servers {
		made := nginx.Server{
			Module: server.Module, File: server.File, Line: server.Line, Names: server.Names,
			Includes: server.Includes, StartTLS: server.StartTLS, ToTLS: server.ToTLS,
		}
		for _, listen := range server.Listens {
			made.Listens = append(made.Listens, nginx.Listen(listen))
		}
		for _, pair := range server.Pairs {
			made.Pairs = append(made.Pairs, nginx.Pair(pair))
		}
		configuration.Servers = append(configuration.Servers, made)
	}
	return configuration, err
}
