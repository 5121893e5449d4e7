package etcdstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/coordinator/fleet"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 24, 14, 0, 0, 0, time.UTC)} }

func open(t *testing.T) (*DB, *clock) {
	t.Helper()
	c, prefix := client(t)
	cl := newClock()
	return openAt(t, Config{Client: c, Prefix: prefix, Now: cl.now}), cl
}

func openAt(t *testing.T, cfg Config) *DB {
	t.Helper()
	d := New(cfg)
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Stop)
	return d
}

// patience is how long a test waits for what comes in milliseconds on a machine
// that does nothing else.
const patience = time.Minute

// eventually waits until a condition holds that a watch brings about.
func eventually(t *testing.T, d *DB, what string, holds func() bool) {
	t.Helper()
	late := time.After(patience)
	again := time.NewTicker(20 * time.Millisecond) // not all that is waited for is told
	defer again.Stop()
	for {
		changed := d.Changed()
		if holds() {
			return
		}
		select {
		case <-changed:
		case <-again.C:
		case <-late:
			t.Fatalf("never: %s", what)
		}
	}
}

func TestBootstrap_GivesAnEmptyStoreOneIdentityForAll(t *testing.T) {
	c, prefix := client(t)
	a := openAt(t, Config{Client: c, Prefix: prefix})
	b := openAt(t, Config{Client: c, Prefix: prefix})
	first, created, err := a.Bootstrap(t.Context())
	if err != nil || !created || first.ID == "" || first.Incarnation < 1 {
		t.Fatalf("bootstrap: %+v %v %v", first, created, err)
	}
	again, created, err := b.Bootstrap(t.Context())
	if err != nil || created || again.ID != first.ID {
		t.Fatalf("second bootstrap: %+v %v %v", again, created, err)
	}
	c3 := openAt(t, Config{Client: c, Prefix: prefix})
	if c3.Identity().ID != first.ID {
		t.Errorf("a coordinator that starts later sees %+v", c3.Identity())
	}
}

func TestBootstrap_RefusesAStoreWithDataButNoIdentity(t *testing.T) {
	c, prefix := client(t)
	d := openAt(t, Config{Client: c, Prefix: prefix})
	if _, err := c.Put(t.Context(), prefix+"groups/default/semaphore", "{}"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Bootstrap(t.Context()); !errors.Is(err, ErrNotEmpty) {
		t.Fatalf("got %v", err)
	}
}

func TestForeign_IsListedOnceAndEverywhere(t *testing.T) {
	c, prefix := client(t)
	a := openAt(t, Config{Client: c, Prefix: prefix})
	b := openAt(t, Config{Client: c, Prefix: prefix})
	for i, want := range []bool{true, false} {
		if listed, err := a.AddForeign(t.Context(), Foreign{Cluster: "other", By: "web-1"}); err != nil || listed != want {
			t.Fatalf("call %d: %v %v", i, listed, err)
		}
	}
	eventually(t, b, "the other coordinator lists it", func() bool { return len(b.Foreign()) == 1 })
	if f := b.Foreign()[0]; f.Cluster != "other" || f.By != "web-1" || f.At.IsZero() {
		t.Errorf("%+v", f)
	}
}

func token(role api.Role) (Token, string) {
	secret := auth.NewSecret()
	h := auth.Hash(secret)
	return Token{Hash: h, Token: api.Token{ID: auth.TokenID(h), Role: role, CreatedAt: time.Now()}}, secret
}

func TestTokens_AreFoundByTheirSecretOnEveryCoordinatorUntilDeleted(t *testing.T) {
	c, prefix := client(t)
	a := openAt(t, Config{Client: c, Prefix: prefix})
	b := openAt(t, Config{Client: c, Prefix: prefix})
	tok, secret := token(api.RoleViewer)
	if _, created, err := a.CreateToken(t.Context(), tok, Request{}, semaphore.Event{Kind: "token.created"}); err != nil || !created {
		t.Fatal(created, err)
	}
	if _, _, found := a.FindToken(secret); !found {
		t.Error("the coordinator that made it does not know it at once")
	}
	eventually(t, b, "the token is known", func() bool { _, _, found := b.FindToken(secret); return found })
	if _, _, found := b.FindToken(auth.NewSecret()); found {
		t.Error("another secret was found")
	}
	if err := b.DeleteToken(t.Context(), tok.ID, semaphore.Event{Kind: "token.deleted"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, a, "the token is gone", func() bool { _, _, found := a.FindToken(secret); return !found })
	if err := a.DeleteToken(t.Context(), tok.ID, semaphore.Event{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleting it again: %v", err)
	}
}

func TestTokens_TheSameIdempotencyKeyMakesOneTokenAndRefusesAnotherBody(t *testing.T) {
	d, _ := open(t)
	one, _ := token(api.RoleViewer)
	two, _ := token(api.RoleViewer)
	if _, created, err := d.CreateToken(t.Context(), one, Request{Key: "k", Digest: "a"}, semaphore.Event{}); err != nil || !created {
		t.Fatal(created, err)
	}
	got, created, err := d.CreateToken(t.Context(), two, Request{Key: "k", Digest: "a"}, semaphore.Event{})
	if err != nil || created || got.ID != one.ID {
		t.Errorf("again: %+v %v %v", got, created, err)
	}
	if _, _, err := d.CreateToken(t.Context(), two, Request{Key: "k", Digest: "b"}, semaphore.Event{}); !errors.Is(err, ErrOtherRequest) {
		t.Errorf("another body: %v", err)
	}
	if n := len(d.Tokens()); n != 1 {
		t.Errorf("%d tokens", n)
	}
}

func TestBundles_AreKeptOnceAndReadBack(t *testing.T) {
	d, _ := open(t)
	b := api.Bundle{Digest: "abc", Name: "motd", Size: 4}
	for i, want := range []bool{true, false} {
		if got, created, err := d.PutBundle(t.Context(), b, []byte("body")); err != nil || created != want || got.Name != "motd" {
			t.Fatalf("put %d: %+v %v %v", i, got, created, err)
		}
	}
	body, err := d.BundleBody(t.Context(), "abc")
	if err != nil || string(body) != "body" {
		t.Fatalf("%q %v", body, err)
	}
	if list, err := d.Bundles(t.Context()); err != nil || len(list) != 1 {
		t.Fatalf("%v %v", list, err)
	}
	if err := d.DeleteBundle(t.Context(), "abc", "ann", 5); !errors.Is(err, ErrChanged) {
		t.Fatalf("as of a catalog that is another by now: %v", err)
	}
	if err := d.DeleteBundle(t.Context(), "abc", "ann", 0); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"delete": d.DeleteBundle(t.Context(), "abc", "ann", 0),
		"read":   func() error { _, err := d.Bundle(t.Context(), "abc"); return err }(),
		"body":   func() error { _, err := d.BundleBody(t.Context(), "abc"); return err }(),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s of a deleted bundle: %v", name, err)
		}
	}
}

func TestBundles_AreRefusedPastTheBoundOfAllAndBelowTheDiskFloor(t *testing.T) {
	c, prefix := client(t)
	var low error
	d := openAt(t, Config{Client: c, Prefix: prefix, Floor: func() error { return low }})
	if _, _, err := d.PutBundle(t.Context(), api.Bundle{Digest: "a", Size: MaxBundles}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.PutBundle(t.Context(), api.Bundle{Digest: "b", Size: 1}, nil); !errors.Is(err, ErrFull) {
		t.Errorf("past the bound: %v", err)
	}
	low = semaphore.ErrDiskLow
	if _, _, err := d.PutBundle(t.Context(), api.Bundle{Digest: "c"}, nil); !errors.Is(err, semaphore.ErrDiskLow) {
		t.Errorf("below the floor: %v", err)
	}
}

func TestWithoutALeader_WritesAreRefusedAtOnceAndReadsGoOn(t *testing.T) {
	c, prefix := client(t)
	var leaderless atomic.Bool
	d := openAt(t, Config{Client: c, Prefix: prefix, HasLeader: func() bool { return !leaderless.Load() }})
	tok, secret := token(api.RoleViewer)
	if _, _, err := d.CreateToken(t.Context(), tok, Request{}, semaphore.Event{Kind: "token.created"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, d, "the event is seen", func() bool {
		l, err := d.Events(t.Context(), api.EventQuery{Limit: 10})
		return err == nil && len(l.Events) == 1
	})
	leaderless.Store(true)
	// The etcd is there: whoever asked it would have succeeded.
	if err := d.Append(t.Context(), semaphore.Event{Kind: "x"}); !errors.Is(err, semaphore.ErrNoQuorum) {
		t.Errorf("append: %v", err)
	}
	if _, _, found := d.FindToken(secret); !found {
		t.Error("a known token is not recognised without quorum")
	}
	if l, err := d.Events(t.Context(), api.EventQuery{Limit: 10}); err != nil || len(l.Events) != 1 {
		t.Errorf("events: %+v %v", l, err)
	}
}

func TestNodes_AreWrittenByComparisonAndFollowed(t *testing.T) {
	d, _ := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	changes := d.FollowNodes(ctx)
	first := <-changes
	if len(first) != 2 || !first[0].Reset || !first[1].Synced {
		t.Fatalf("first: %+v", first)
	}
	id := "a/b %c"
	rev, err := d.PutNode(t.Context(), fleet.Record{ID: id, Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	if got := <-changes; len(got) != 1 || got[0].ID != id || got[0].Record.Revision != rev {
		t.Fatalf("%+v", got)
	}
	if _, err := d.PutNode(t.Context(), fleet.Record{ID: id}); !errors.Is(err, fleet.ErrChanged) {
		t.Errorf("a write made from no record: %v", err)
	}
	if r, found, err := d.GetNode(t.Context(), id); err != nil || !found || r.Revision != rev || r.Group != "g" {
		t.Errorf("%+v %v %v", r, found, err)
	}
	if err := d.DeleteNode(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := <-changes; len(got) != 1 || !got[0].Deleted || got[0].ID != id {
		t.Fatalf("%+v", got)
	}
	cancel()
	for range changes {
	}
}

func TestTokens_TheLifeOfOneEndsWhenItIsTakenBackOrExpires(t *testing.T) {
	c, prefix := client(t)
	a := openAt(t, Config{Client: c, Prefix: prefix})
	lasting, lastingSecret := token(api.RoleViewer)
	short, shortSecret := token(api.RoleViewer)
	short.ExpiresAt = time.Now().Add(300 * time.Millisecond)
	for _, tok := range []Token{lasting, short} {
		if _, _, err := a.CreateToken(t.Context(), tok, Request{}, semaphore.Event{Kind: "token.created"}); err != nil {
			t.Fatal(err)
		}
	}
	_, life, _ := a.FindToken(lastingSecret)
	_, brief, _ := a.FindToken(shortSecret)
	select {
	case <-brief.Done():
	case <-time.After(patience):
		t.Error("the life of an expired token goes on")
	}
	if life.Err() != nil {
		t.Fatal("the life of a lasting token has ended")
	}
	b := openAt(t, Config{Client: c, Prefix: prefix}) // and what a reload forgets
	_, there, _ := b.FindToken(lastingSecret)
	b.tokenTable().reload(nil, 0)
	if there.Err() == nil {
		t.Error("a token that was gone when the table was read again lives on")
	}
	if err := a.DeleteToken(t.Context(), lasting.ID, semaphore.Event{Kind: "token.deleted"}); err != nil {
		t.Fatal(err)
	}
	if life.Err() == nil {
		t.Error("the life of a deleted token goes on")
	}
}

// Below the first floor known nodes are still heard, below the second only who is
// heard where is still shared: by that nobody's slot is freed whose host lives.
func TestNodes_WhatIsWrittenOfThemWithLittleRoom(t *testing.T) {
	c, prefix := client(t)
	var first, second error
	d := openAt(t, Config{Client: c, Prefix: prefix, Floor: func() error { return first }, WriteFloor: func() error { return second }})
	revision, err := d.PutNode(t.Context(), fleet.Record{ID: "known"})
	if err != nil {
		t.Fatal(err)
	}
	known := fleet.Record{ID: "known", Revision: revision}
	is := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: got %v, want %v", what, err, want)
		}
	}
	order := func() error { return d.OrderNode(t.Context(), known, semaphore.Event{Kind: "node.rollback"}) }

	first = semaphore.ErrDiskLow
	_, err = d.PutNode(t.Context(), fleet.Record{ID: "new"})
	is("a node that is new, below the first floor", err, semaphore.ErrDiskLow)
	is("an order, below the first floor", order(), semaphore.ErrDiskLow)
	known.Revision, err = d.PutNode(t.Context(), known)
	is("a report, below the first floor", err, nil)

	second = semaphore.ErrDiskLow
	_, err = d.PutNode(t.Context(), known)
	is("a report, below the second floor", err, semaphore.ErrDiskLow)
	_, err = d.PutSightings(t.Context(), fleet.Agents, []fleet.Sighting{{V: 1, ID: "known", Owner: d.Owner()}})
	is("who is heard here, below the second floor", err, nil)
	is("a node that is forgotten, below the second floor", d.DeleteNode(t.Context(), "known"), nil)
}
