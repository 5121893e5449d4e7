package etcdstore

import (
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// reads has this program be of a version that reads stored values up to a schema,
// until the test and all that it started has ended.
func reads(t *testing.T, v int) {
	t.Helper()
	was := semaphore.SchemaVersion
	semaphore.SchemaVersion = v
	t.Cleanup(func() { semaphore.SchemaVersion = was })
}

// values are the stored values of rollouts, by key below the prefix.
func (w *world) values() map[string]string {
	w.t.Helper()
	resp, err := etcd.Client().Get(w.t.Context(), w.prefix+"rollout", clientv3.WithPrefix())
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]string{}
	for _, kv := range resp.Kvs {
		if key := strings.TrimPrefix(string(kv.Key), w.prefix); !strings.HasPrefix(key, "rollout-engine/") {
			out[key] = string(kv.Value)
		}
	}
	return out
}

// written fails the test unless the values whose keys end so have this `v`.
func (w *world) written(v int, ends ...string) {
	w.t.Helper()
	for _, end := range ends {
		found := false
		for key, value := range w.values() {
			var got struct {
				V int `json:"v"`
			}
			if !strings.Contains(key, end) {
				continue
			}
			found = true
			if err := json.Unmarshal([]byte(value), &got); err != nil || got.V != v {
				w.t.Errorf("%s has v %d, want %d: %s (%v)", key, got.V, v, value, err)
			}
		}
		if !found {
			w.t.Errorf("there is no %s", end)
		}
	}
}

func TestSchema_WhatIsWrittenOfRolloutsFollowsWhatAllCoordinatorsRead(t *testing.T) {
	reads(t, 2)
	w := newWorld(t, 3, 1)
	var schema atomic.Int64
	schema.Store(1)
	s := New(Config{Client: etcd.Client(), Prefix: w.prefix, Name: "test", Schema: func() int { return int(schema.Load()) }})
	e := w.engine(s)
	w.agents()
	first := w.create(e, func(s *api.RolloutSpec) {
		s.Group, s.Nodes = "", []string{"n00"}
		s.OnDone = []api.NotifySpec{{Webhook: "nobody-tells-it"}}
	})
	w.comesTo(e, first.ID, api.RolloutSucceeded)
	// While an old one is there, it can read all of it.
	w.written(1, "/head", "/selection", "/nodes/n00", "/notices/", "rollout-settled/n00", "rollout-catalog")

	schema.Store(3) // more than this program knows itself
	second := w.create(e, func(s *api.RolloutSpec) {
		s.Group, s.Nodes = "", []string{"n01"}
		s.OnDone = []api.NotifySpec{{Webhook: "nobody-tells-it"}}
	})
	w.comesTo(e, second.ID, api.RolloutSucceeded)
	for _, part := range []string{"/head", "/selection", "/nodes/n01", "/notices/"} {
		w.written(2, second.ID+part)
	}
	w.written(2, "rollout-settled/n01")
	w.written(1, first.ID+"/head", "rollout-settled/n00") // not touched since

	schema.Store(1) // as a coordinator that lags behind sees it
	third := w.create(e, func(s *api.RolloutSpec) { s.Group, s.Nodes = "", []string{"n02"} })
	w.comesTo(e, third.ID, api.RolloutSucceeded)
	schema.Store(2)
	fourth := w.create(e, func(s *api.RolloutSpec) {
		s.Group, s.Selector, s.Joining, s.Bundle = "web", "", api.JoiningInclude, oldBundle
		s.Gates = []api.GateSpec{{Approval: &api.ApprovalGate{}}}
	})
	schema.Store(1)
	w.act(e, fourth.ID, rollout.ActPause)
	w.written(2, fourth.ID+"/head") // never back

	// What a later version adds without a new schema is kept when nodes join.
	key := "rollouts/" + fourth.ID + "/selection"
	added := strings.TrimSuffix(w.values()[key], "}") + `,"someday":{"n":3}}`
	if _, err := etcd.Client().Put(t.Context(), w.prefix+key, added); err != nil {
		t.Fatal(err)
	}
	w.eventually("it to be seen", func() bool { return s.View().Rollouts[fourth.ID].Selection.Extra["someday"] != nil })
	w.arrives("n90")
	w.eventually("a node to join", func() bool { return strings.Contains(w.values()[key], "n90") })
	if got := w.values()[key]; !strings.Contains(got, `"someday":{"n":3}`) || !strings.Contains(got, `"v":2`) {
		t.Errorf("with the node that joined: %s", got)
	}
}

// Of an active rollout one value is of a later version, in a form of its own, or
// is damaged: a coordinator that cannot read it shows it where it can, and says so
// to whoever would have it rest on it. Nothing is written.
func TestSchema_ARolloutOfALaterVersionIsShownAndNothingRestsOnIt(t *testing.T) {
	for name, c := range map[string]struct {
		part, value string
		hidden      bool
	}{
		"the head":                   {"/head", `{"v":2,"id":"ID","state":"succeeded","spec":{"bundle":"BUNDLE"},"event_seq":1}`, false},
		"the head, in another form":  {"/head", `{"v":2,"id":"ID","state":{"is":"running"},"spec":{"bundles":["x"]}}`, false},
		"the nodes":                  {"/selection", `{"v":2,"nodes":[]}`, false},
		"the nodes, in another form": {"/selection", `{"v":2,"nodes":{"web":["n00"]}}`, false},
		"a result":                   {"/nodes/n01", `{"v":2,"node":"n01","state":"updated","attempt":1,"at":"2026-03-01T12:00:00Z"}`, false},
		"a notice":                   {"/notices/0000000000000009", `{"v":2,"to":"all"}`, false},
		"a damaged head":             {"/head", `{"v":1,"id":`, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2, 1)
			before := w.engine(w.store())
			r := w.create(before, func(s *api.RolloutSpec) { s.AutoRollback = api.RollbackAll })
			before.Stop()
			value := strings.NewReplacer("ID", r.ID, "BUNDLE", newBundle).Replace(c.value)
			if _, err := etcd.Client().Put(t.Context(), w.prefix+"rollouts/"+r.ID+c.part, value); err != nil {
				t.Fatal(err)
			}
			stored := w.values()

			e := w.engine(w.store())
			for i := range 2 {
				w.report(w.Nodes()[i].ID, func(r *api.Report) { r.Bundle = newBundle })
			}
			got, shown := e.Get(r.ID)
			if shown == c.hidden || shown && !strings.Contains(got.Why, "newer version") {
				t.Errorf("shown %v: %s", shown, got.Why)
			}
			if want := e.WantedFor("n00"); want != nil {
				t.Errorf("wanted of a node: %+v", want)
			}
			spec := api.RolloutSpec{Bundle: oldBundle, Nodes: []string{"n00"}}
			_, errPlan := e.Plan(spec)
			_, _, errCreate := e.Create(t.Context(), spec, "ann", "")
			spec.Conflict = api.ConflictSupersede
			_, _, errSupersede := e.Create(t.Context(), spec, "ann", "")
			_, errAct := e.Act(t.Context(), r.ID, rollout.Ask{Action: rollout.ActAbort, By: "ann"})
			_, errRetry := e.RetryNode(t.Context(), "n00", "ann", "")
			_, _, errBundle := e.BundleUse(t.Context(), newBundle)
			for what, err := range map[string]error{
				"plan": errPlan, "create": errCreate, "supersede": errSupersede, "abort": errAct, "retry": errRetry,
				"use of the bundle": errBundle, "settle": e.Settle(t.Context(), "n00", failureIn(r)),
			} {
				var refused *api.Error
				if !errors.As(err, &refused) || refused.Kind != api.NewerSchema || !strings.Contains(refused.Detail, c.part) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if c.part == "/head" {
				if err := e.MayBegin(t.Context(), r.ID); !errors.Is(err, semaphore.ErrNewerSchema) {
					t.Errorf("may begin: %v", err)
				}
			}
			time.Sleep(100 * time.Millisecond) // in which the elected engine looks more than once
			for key, was := range stored {
				if now := w.values()[key]; now != was {
					t.Errorf("%s was changed from %s to %s", key, was, now)
				}
			}
		})
	}
}

// An engine that would have to leave alone what another can carry on is not
// elected while that one is there, also when it was elected first.
func TestSchema_TheEngineThatReadsLessGivesWay(t *testing.T) {
	w := newWorld(t, 1, 1)
	var behind atomic.Bool
	start := func(name string, givesWay func() bool) *rollout.Engine {
		e := rollout.NewEngine(rollout.EngineConfig{
			Store: New(Config{Client: etcd.Client(), Prefix: w.prefix, Name: name}), Fleet: w, Semaphores: w.sems, GivesWay: givesWay,
		})
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Stop)
		return e
	}
	elected := func() string {
		resp, err := etcd.Client().Get(t.Context(), w.prefix+"rollout-engine/", clientv3.WithFirstCreate()...)
		if err != nil || len(resp.Kvs) == 0 {
			return ""
		}
		return string(resp.Kvs[0].Value)
	}
	start("old", behind.Load)
	w.eventually("the old one to be elected", func() bool { return elected() == "old" })
	behind.Store(true)
	later := start("later", nil)
	w.eventually("the later one to be elected", func() bool { return elected() == "later" })
	behind.Store(false)
	later.Stop()
	w.eventually("the old one to take over", func() bool { return elected() == "old" })
}
