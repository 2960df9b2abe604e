package deploy_test

import (
	"encoding/json"
	"testing"

	"github.com/backstay/backstay/deploy"
	"github.com/backstay/backstay/deploy/deploytest"
)

// written is the argument of the acts that a killed process carries out.
type written struct {
	State            string
	Key, Leaf, Chain []byte
	Linked           deploy.Linked
	Placement        deploy.Placement
}

func TestMain(m *testing.M) {
	deploytest.Main(m, map[string]deploytest.Act{
		"generation": act(writeGeneration),
		"stage":      act(func(w written) error { return w.Linked.Stage(w.Placement) }),
		"swap":       act(func(w written) error { return w.Linked.Swap(w.Placement, false) }),
		"both": act(func(w written) error {
			if err := w.Linked.Stage(w.Placement); err != nil {
				return err
			}
			return w.Linked.Swap(w.Placement, false)
		}),
	})
}

func act(do func(written) error) deploytest.Act {
	return func(argument json.RawMessage) error {
		var w written
		if err := json.Unmarshal(argument, &w); err != nil {
			return err
		}
		return do(w)
	}
}

func writeGeneration(w written) error {
	if err := deploy.WriteKey(w.State, "www", 1, w.Key); err != nil {
		return err
	}
	if err := deploy.WriteChain(w.State, "www", 1, w.Leaf, w.Chain); err != nil {
		return err
	}
	return deploy.PointLive(w.State, "www", 1)
}
