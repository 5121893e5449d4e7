package service

import (
	"context"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// waitingWith starts one of each request that lasts, as who asks with secret.
func (b *bench) waitingWith(secret string) map[string]chan error {
	b.t.Helper()
	var p auth.Principal
	b.eventually("the token is known", func() bool {
		var err error
		p, err = b.Authenticate(b.t.Context(), secret)
		return err == nil
	})
	ctx := auth.With(b.t.Context(), p)
	requests := map[string]func() error{
		"poll": func() error {
			req := poll("default")
			first, err := b.Poll(ctx, "web-1", req)
			if err != nil {
				return err
			}
			req.Seen, req.WaitS, req.Report.Seq = first.Tag, 60, 2
			_, err = b.Poll(ctx, "web-1", req)
			return err
		},
		"acquire": func() error {
			_, err := b.Acquire(ctx, "default", "web-1", api.AcquireRequest{Instance: "i1", Request: "q1", BootID: "b1"}, time.Minute)
			return err
		},
		"stream": func() error {
			events, err := b.WatchEvents(ctx, b.Revision())
			if err != nil {
				return err
			}
			for range events {
			}
			return nil
		},
	}
	out := map[string]chan error{}
	for name, request := range requests {
		if name == "stream" != p.Allows(api.RoleViewer) {
			continue
		}
		done := make(chan error, 1)
		out[name] = done
		go func() { done <- request() }()
	}
	return out
}

func TestDeleteToken_EndsWhatIsUnderWayWithItOnEveryCoordinator(t *testing.T) {
	b := start(t)
	other := startAt(t, b.prefix)
	b.hello("holder", "default")
	b.hello("web-1", "default")
	b.acquire("default", "holder")
	node, err := b.CreateToken(b.admin(), api.TokenRequest{Role: api.RoleNode, Node: "web-1"})
	if err != nil {
		t.Fatal(err)
	}
	viewer, err := b.CreateToken(b.admin(), api.TokenRequest{Role: api.RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]chan error{}
	for _, at := range []*bench{b, other} {
		for _, secret := range []string{node.Secret, viewer.Secret} {
			for name, done := range at.waitingWith(secret) {
				all[map[*bench]string{b: "here ", other: "elsewhere "}[at]+name] = done
			}
		}
	}
	b.eventually("the node waits", func() bool {
		st, _ := other.sem.View("default")
		return len(st.Queue) == 1 && len(b.polls.all())+len(other.polls.all()) == 2
	})
	for _, id := range []string{node.ID, viewer.ID} {
		if err := b.DeleteToken(b.admin(), id); err != nil {
			t.Fatal(err)
		}
	}
	for name, done := range all {
		select {
		case err := <-done:
			if err == nil && (name == "here stream" || name == "elsewhere stream") {
				continue // it has begun; its end says enough
			}
			mustRefuse(t, err, api.Unauthenticated)
		case <-time.After(30 * time.Second): // they would wait for a minute
			t.Errorf("%s goes on without its token", name)
		}
	}
	b.eventually("the node's place is left", func() bool {
		st, _ := b.sem.View("default")
		_, holds := st.Holds["web-1"]
		return !holds
	})
}

func TestEvents_BehindARevisionThatIsNotReachedAreRefused(t *testing.T) {
	b := start(t)
	now, err := b.db.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Events(b.admin(), api.EventQuery{After: now + 1_000_000}); err == nil {
		t.Error("a page was answered")
	} else {
		field(t, err, "after")
	}
	_, err = b.WatchEvents(b.admin(), now+1_000_000)
	field(t, err, "after")
	ctx, cancel := context.WithCancel(b.admin())
	defer cancel()
	if _, err := b.WatchEvents(ctx, now); err != nil {
		t.Errorf("behind the newest: %v", err)
	}
}

// An event is learnt from one coordinator, and its successors are asked of one
// that is behind.
func TestEvents_ACoordinatorThatIsBehindAsksTheStore(t *testing.T) {
	b := start(t)
	newest, err := b.db.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	behind := startAt(t, b.prefix, func(c *Config) { c.Node = outdated{c.Node} })
	if _, err := behind.Events(b.admin(), api.EventQuery{After: newest}); err != nil {
		t.Errorf("behind an event that was seen elsewhere: %v", err)
	}
	behind.member.lose(true)
	_, err = behind.Events(b.admin(), api.EventQuery{After: newest})
	mustRefuse(t, err, api.NoQuorum)
	if _, err := behind.Events(b.admin(), api.EventQuery{}); err != nil {
		t.Errorf("what is known, without quorum: %v", err)
	}
}

// outdated is a member that is far behind.
type outdated struct{ ClusterInfo }

func (o outdated) Info() api.StoreInfo {
	info := o.ClusterInfo.Info()
	info.Revision = 1
	return info
}
