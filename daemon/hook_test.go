package daemon

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/testbed/world"
)

// TestDeployHook: the hook runs once for a new certificate, with certbot's
// variables, and one that fails is told and run again.
func TestDeployHook(t *testing.T) {
	rig := newRig(t, nil)
	script := "#!/bin/sh\necho \"$RENEWED_LINEAGE $RENEWED_DOMAINS\" >> " + rig.Path("hook.out") + "\ntest ! -e " + rig.Path("fail") + "\n"
	if err := os.WriteFile(rig.Path("hook"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := rig.Write("fail", nil); err != nil {
		t.Fatal(err)
	}
	rig.cfg.Certificates = []world.Certificate{{Name: "www", Domains: []string{"www.example.com"}, Options: "deploy: [mail], hooks: {deploy: [" + rig.Path("hook") + "]}"}}
	configuration := rig.load()
	report := rig.run(configuration, Selection{Patience: 100 * time.Millisecond})
	if len(report.Served) != 1 || !rig.found("self-state") {
		t.Fatalf("report %+v findings %+v", report, rig.findings)
	}
	if err := os.Remove(rig.Path("fail")); err != nil {
		t.Fatal(err)
	}
	before := lines(t, rig.Path("hook.out"))
	if _, err := rig.renew(configuration, Selection{}); err != nil {
		t.Fatal(err)
	}
	after := lines(t, rig.Path("hook.out"))
	// Once: the new generation's, which the one that failed is part of.
	if len(before) != 1 || len(after) > len(before)+2 || len(after) == len(before) || after[len(after)-1] != rig.State()+"/live/www www.example.com" {
		t.Fatalf("hook ran %d times before, then %v", len(before), after)
	}
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}
