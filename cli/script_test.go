// The scripts need golang.org/x/tools/txtar, by way of testscript. Run them with
// `go test -tags script ./cli`.

package cli

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"backstay": func() { os.Exit(Main(context.Background(), Process())) },
	})
}

// TestScript runs the commands as a person types them. Each script begins with
// an empty home; XDG folders lie in it.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir+"/home")
			env.Setenv("XDG_CONFIG_HOME", env.WorkDir+"/home/.config")
			env.Setenv("XDG_STATE_HOME", env.WorkDir+"/home/.local/state")
			return nil
		},
		Condition: func(condition string) (bool, error) {
			path, ok := strings.CutPrefix(condition, "file:")
			if !ok {
				return false, errors.New("unknown condition " + condition)
			}
			_, err := os.Stat(path)
			return err == nil, nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, arguments []string){
			"code": exitCode,
		},
	})
}

// exitCode is the script command `code N COMMAND…`: it runs a command and wants
// exactly that exit code.
func exitCode(ts *testscript.TestScript, neg bool, arguments []string) {
	if neg || len(arguments) < 2 {
		ts.Fatalf("usage: code N COMMAND [ARGUMENT…]")
	}
	got := "0"
	if err := ts.Exec(arguments[1], arguments[2:]...); err != nil {
		got = exitStatus(err)
	}
	if got != arguments[0] {
		ts.Fatalf("exit code %s, want %s", got, arguments[0])
	}
}
