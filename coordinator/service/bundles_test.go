package service

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// motd is a valid bundle.
func motd(t *testing.T, text string) []byte {
	t.Helper()
	const path = "/etc/motd"
	b, err := bundle.Encode(bundle.Manifest{
		Name:  "motd",
		Files: []bundle.File{{Path: path, Mode: "0644", Interrupt: bundle.InterruptReboot}},
	}, map[string][]byte{path: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// escaping is a bundle whose file would be written outside of its path.
func escaping(t *testing.T) []byte {
	t.Helper()
	good := motd(t, "x")
	name, evil := []byte("files/etc/motd"), []byte("files/../motds")
	if len(name) != len(evil) || !bytes.Contains(good, name) {
		t.Fatal("the format of a bundle changed")
	}
	return bytes.Replace(good, name, evil, 1)
}

func (b *bench) upload(content []byte, digest string) (api.Bundle, bool, error) {
	return b.CreateBundle(b.ctx(api.RoleDeployer), bytes.NewReader(content), digest)
}

func TestCreateBundle_StoresTheSameContentOnce(t *testing.T) {
	b := start(t)
	content := motd(t, "hello\n")
	digest := bundle.Digest(content)
	got, created, err := b.upload(content, strings.ToUpper(digest))
	if err != nil || !created || got.Digest != digest || got.Name != "motd" || got.By != "ann" || len(got.Files) != 1 || got.Interrupt != "reboot" {
		t.Fatalf("%+v %v %v", got, created, err)
	}
	if again, created, err := b.upload(content, ""); err != nil || created || again.Digest != digest {
		t.Errorf("again: %+v %v %v", again, created, err)
	}
	r, size, err := b.OpenBundle(b.as("web-1"), digest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if body, _ := io.ReadAll(r); !bytes.Equal(body, content) || size != int64(len(content)) {
		t.Error("another content came back")
	}
	b.hello("a", "default")
	b.report("a", 2, func(r *api.Report) { r.Bundle = digest })
	b.eventually("one node has it", func() bool { l, err := b.Bundles(b.admin()); return err == nil && len(l) == 1 && l[0].Nodes == 1 })
}

func TestCreateBundle_RefusesWhatIsWrongAndStoresNothing(t *testing.T) {
	b := start(t)
	content := motd(t, "hello\n")
	other := motd(t, "another\n")
	try := func(r io.Reader, digest string) error {
		_, _, err := b.CreateBundle(b.ctx(api.RoleDeployer), r, digest)
		return err
	}
	field(t, try(bytes.NewReader(content), bundle.Digest(other)), "Content-Digest")
	field(t, try(bytes.NewReader(content), "abc"), "digest")
	mustRefuse(t, try(bytes.NewReader(make([]byte, 1<<20+1)), ""), api.TooLarge)
	mustRefuse(t, try(io.MultiReader(bytes.NewReader(content[:700]), iotest.ErrReader(errors.New("reset"))), ""), api.Invalid)
	mustRefuse(t, try(bytes.NewReader(content[:700]), ""), api.Invalid)
	mustRefuse(t, try(strings.NewReader("no bundle"), ""), api.Invalid)
	mustRefuse(t, try(bytes.NewReader(escaping(t)), ""), api.Invalid)
	if l, err := b.Bundles(b.admin()); err != nil || len(l) != 0 {
		t.Errorf("stored: %+v %v", l, err)
	}
	_, err := b.Bundle(b.admin(), bundle.Digest(content))
	mustRefuse(t, err, api.NotFound)
	_, _, err = b.OpenBundle(b.admin(), bundle.Digest(content))
	mustRefuse(t, err, api.NotFound)
}

func TestDeleteBundle_IsRefusedWhileARolloutWantsIt(t *testing.T) {
	b := start(t)
	content := motd(t, "hello\n")
	got, _, err := b.upload(content, "")
	if err != nil {
		t.Fatal(err)
	}
	set := func(state api.RolloutState) {
		b.rollouts.set(func() {
			b.rollouts.list = []api.Rollout{{ID: "r1", Spec: api.RolloutSpec{Bundle: got.Digest}, State: state}}
		})
	}
	set(api.RolloutPaused)
	mustRefuse(t, b.DeleteBundle(b.admin(), got.Digest), api.InUse)
	set(api.RolloutSucceeded)
	if err := b.DeleteBundle(b.admin(), got.Digest); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, b.DeleteBundle(b.admin(), got.Digest), api.NotFound)
}

// A rollout may come between the look at who needs a bundle and its deletion.
func TestDeleteBundle_IsRefusedWhenARolloutComesMeanwhile(t *testing.T) {
	for name, remove := range map[string]func(b *bench, digest string) error{
		"by a person": func(b *bench, digest string) error { return b.DeleteBundle(b.admin(), digest) },
		"by its age": func(b *bench, _ string) error {
			b.clock.pass(unusedFor + time.Hour)
			return b.Prune(b.t.Context())
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			got, _, err := b.upload(motd(t, "hello\n"), "")
			if err != nil {
				t.Fatal(err)
			}
			b.rollouts.asked = func() {
				b.rollouts.asked = nil
				put, err := shared.node.Client().Put(t.Context(), b.prefix+"rollout-catalog", `{"v":1,"last":"r1"}`)
				if err != nil {
					t.Error(err)
					return
				}
				b.rollouts.catalog = put.Header.Revision
				b.rollouts.list = []api.Rollout{{ID: "r1", Spec: api.RolloutSpec{Bundle: got.Digest}, State: api.RolloutRunning}}
			}
			err = remove(b, got.Digest)
			if name == "by a person" {
				mustRefuse(t, err, api.InUse)
			} else if err != nil {
				t.Error(err)
			}
			if _, err := b.Bundle(b.admin(), got.Digest); err != nil {
				t.Errorf("a rollout under way needs the bundle, and it is gone: %v", err)
			}
		})
	}
}

func TestPrune_DeletesABundleThatNobodyNeededFor30Days(t *testing.T) {
	b := start(t)
	used, _, err := b.upload(motd(t, "used\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.upload(motd(t, "unused\n"), ""); err != nil {
		t.Fatal(err)
	}
	b.hello("a", "default")
	b.report("a", 2, func(r *api.Report) { r.Bundle = used.Digest })
	b.clock.pass(31 * 24 * time.Hour)
	b.eventually("the node is seen", func() bool { return b.nodesWith()[used.Digest] == 1 })
	if err := b.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l, err := b.Bundles(b.admin()); err != nil || len(l) != 1 || l[0].Digest != used.Digest {
		t.Errorf("%+v %v", l, err)
	}
}

func TestCreateRollout_NamesTheWrongField(t *testing.T) {
	b := start(t)
	stored, _, err := b.upload(motd(t, "x\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	try := func(spec api.RolloutSpec) error {
		_, _, err := b.CreateRollout(b.ctx(api.RoleDeployer), spec, "")
		_, planned := b.Plan(b.admin(), spec)
		if kindOf(err) != kindOf(planned) {
			t.Errorf("a start says %v, a plan %v", err, planned)
		}
		return err
	}
	digest := stored.Digest
	field(t, try(api.RolloutSpec{Bundle: "abc", Group: "default"}), "bundle")
	field(t, try(api.RolloutSpec{Bundle: strings.Repeat("0", 64), Group: "default"}), "bundle")
	field(t, try(api.RolloutSpec{Bundle: digest}), "group")
	field(t, try(api.RolloutSpec{Bundle: digest, Selector: "zone"}), "selector")
	field(t, try(api.RolloutSpec{Bundle: digest, Group: "default", MaxFailures: "-1"}), "max_failures")
	mustRefuse(t, try(api.RolloutSpec{Bundle: digest, Group: "nowhere"}), api.UnknownGroup)
	if err := try(api.RolloutSpec{Bundle: digest, Group: "default"}); err != nil {
		t.Error(err)
	}
	_, err = b.RolloutAction(b.admin(), "r1", "explode", api.RolloutActionRequest{})
	field(t, err, "action")
	_, err = b.Rollout(b.admin(), "nope")
	mustRefuse(t, err, api.NotFound)
}
