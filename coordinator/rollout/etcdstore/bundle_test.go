package etcdstore

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
)

// onShelf is an engine whose bundles are keys in etcd, as a coordinator's are.
// afterLook is called once an answer about a bundle is found, before it is given.
func (w *world) onShelf(afterLook func()) *rollout.Engine {
	key := func(digest string) string { return w.prefix + "shelf/" + digest }
	for _, digest := range []string{newBundle, oldBundle} {
		if _, err := etcd.Client().Put(w.t.Context(), key(digest), "{}"); err != nil {
			w.t.Fatal(err)
		}
	}
	e := rollout.NewEngine(rollout.EngineConfig{
		Store: New(Config{Client: etcd.Client(), Prefix: w.prefix, Name: "test", BundleKey: key}), Fleet: w, Semaphores: w.sems,
		BundleName: func(ctx context.Context, digest string) (string, error) {
			got, err := etcd.Client().Get(ctx, key(digest))
			if err != nil {
				return "", err
			}
			afterLook()
			if len(got.Kvs) == 0 {
				return "", api.Errorf(api.NotFound, "there is no bundle %s", digest)
			}
			return "app-" + digest[:1], nil
		},
	})
	if err := e.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(e.Stop)
	w.engines = append(w.engines, e)
	return e
}

// takeOff deletes a bundle.
func (w *world) takeOff(digest string) {
	if _, err := etcd.Client().Delete(w.t.Context(), w.prefix+"shelf/"+digest); err != nil {
		w.t.Error(err)
	}
}

func notFound(t *testing.T, what string, err error) {
	t.Helper()
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Kind != api.NotFound {
		t.Errorf("%s: got %v, want not_found", what, err)
	}
}

func TestCreate_IsRefusedWhenTheBundleIsDeletedMeanwhile(t *testing.T) {
	w := newWorld(t, 2, 1)
	var looks atomic.Int64
	e := w.onShelf(func() {
		if looks.Add(1) == 1 {
			w.takeOff(newBundle)
		}
	})
	_, _, err := e.Create(t.Context(), api.RolloutSpec{Bundle: newBundle, Group: "web"}, "ann", "")
	notFound(t, "create", err)
	if list := e.List(); len(list) != 0 {
		t.Errorf("a rollout names a bundle that is gone: %+v", list[0])
	}
}

func TestRetry_OfARolloutThatHasEndedNeedsItsBundle(t *testing.T) {
	for _, meanwhile := range []bool{false, true} {
		w := newWorld(t, 1, 1)
		w.fails["n00"] = 1
		var armed atomic.Bool
		e := w.onShelf(func() {
			if armed.CompareAndSwap(true, false) {
				w.takeOff(newBundle)
			}
		})
		w.agents()
		r := w.create(e, func(s *api.RolloutSpec) { s.MaxFailures = "100%" })
		w.comesTo(e, r.ID, api.RolloutFailed)
		armed.Store(meanwhile)
		if !meanwhile {
			w.takeOff(newBundle)
		}
		_, err := e.Act(t.Context(), r.ID, rollout.Ask{Action: rollout.ActRetry, By: "ann"})
		notFound(t, "retry", err)
		_, err = e.RetryNode(t.Context(), "n00", "ann", "")
		notFound(t, "retry of the node", err)
		if got, _ := e.Get(r.ID); got.State != api.RolloutFailed {
			t.Errorf("it is %s, and its bundle is gone", got.State)
		}
	}
}
