package coordinator

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// A bundle is deleted while a rollout to it is created: one of both is refused,
// and no rollout under way names a bundle that is gone.
func TestBundle_IsEitherDeletedOrRolledOut(t *testing.T) {
	t.Parallel()
	c, err := New(Config{DataDir: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	ctx := auth.With(t.Context(), auth.Principal{Name: "ann", Role: api.RoleAdmin})
	node := auth.With(t.Context(), auth.Principal{Name: "a", Role: api.RoleNode, Node: "a"})
	report := api.Report{Seq: 1, Group: "default", Phase: api.PhaseIdle, Healthy: true}
	if _, err := c.service.Poll(node, "a", api.PollRequest{Instance: "i", BootID: "b", Report: report}); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		const path = "/etc/motd"
		file := bundle.Manifest{Name: "motd", Files: []bundle.File{{Path: path, Mode: "0644", Interrupt: bundle.InterruptNone}}}
		content, err := bundle.Encode(file, map[string][]byte{path: fmt.Append(nil, i)})
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := c.service.CreateBundle(ctx, bytes.NewReader(content), "")
		if err != nil {
			t.Fatal(err)
		}
		var created api.Rollout
		var deletion, creation error
		var both sync.WaitGroup
		both.Go(func() { deletion = c.service.DeleteBundle(ctx, b.Digest) })
		both.Go(func() {
			created, _, creation = c.service.CreateRollout(ctx, api.RolloutSpec{Bundle: b.Digest, Nodes: []string{"a"}}, "")
		})
		both.Wait()
		if (deletion == nil) == (creation == nil) {
			t.Fatalf("round %d: the deletion ended with %v, and the rollout with %v", i, deletion, creation)
		}
		for err, kinds := range map[error][]api.Kind{deletion: {api.InUse}, creation: {api.Invalid, api.NotFound}} {
			var refused *api.Error
			if err != nil && (!errors.As(err, &refused) || refused.Kind != kinds[0] && refused.Kind != kinds[len(kinds)-1]) {
				t.Errorf("round %d: got %v, want a refusal of %v", i, err, kinds)
			}
		}
		if creation == nil {
			if _, err := c.service.RolloutAction(ctx, created.ID, "abort", api.RolloutActionRequest{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}
