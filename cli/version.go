package cli

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionRecord says what this binary is.
type versionRecord struct {
	Kind     string `json:"kind"` // "version"
	Schema   int    `json:"schema"`
	Version  string `json:"version"`            // "(devel)" when built from a checkout
	Commit   string `json:"commit,omitempty"`   // of the checkout it was built from
	Modified bool   `json:"modified,omitempty"` // the checkout had changes
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func versionCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "what this binary is",
		Args:  arguments(0, 0),
		RunE: p.run(func(context.Context, []string) error {
			about := thisVersion()
			p.record(about)
			commit := ""
			if about.Commit != "" {
				commit = ", commit " + about.Commit
				if about.Modified {
					commit += " and changes"
				}
			}
			p.printf("backstay %s (%s, %s%s)\n", about.Version, about.Go, about.Platform, commit)
			return nil
		}),
	}
}

// thisVersion reads what the Go linker left in the binary.
func thisVersion() versionRecord {
	about := versionRecord{Kind: "version", Schema: 1, Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	built, ok := debug.ReadBuildInfo()
	if !ok {
		return about
	}
	if built.Main.Version != "" {
		about.Version = built.Main.Version
	}
	for _, setting := range built.Settings {
		switch setting.Key {
		case "vcs.revision":
			about.Commit = setting.Value
		case "vcs.modified":
			about.Modified = setting.Value == "true"
		}
	}
	return about
}
