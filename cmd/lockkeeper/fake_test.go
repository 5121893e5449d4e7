package main

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// noon is when the tests happen.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// fake is a coordinator of which a test says only what it needs; anything else
// that is asked of it is a nil dereference, and fails the test.
type fake struct {
	coordinator
	status   []api.Status // one answer after another, the last for ever
	groups   map[string]api.Group
	nodes    map[string][]api.Node // by group, a page for every two
	rollouts []api.Rollout         // as status, for one rollout
	err      []error               // before any answer, one at a time
	bundles  []api.Bundle
	started  api.RolloutSpec // by the last CreateRollout
	acted    []string        // on rollouts, as ACTION WAVE GATE REASON
	stops    []time.Time     // of the actions

	gone     bool   // nobody says how groups are
	put      func() // before a put arrives: what others do meanwhile
	lost     string // group whose put is carried out, and its answer lost
	released []api.ReleaseRequest
	revoked  []api.RevokeRequest
	refuse   error // of a release
}

func (f *fake) fail() error {
	if len(f.err) == 0 {
		return nil
	}
	err := f.err[0]
	f.err = f.err[1:]
	return err
}

func (f *fake) Status(context.Context) (api.Status, error) {
	if err := f.fail(); err != nil {
		return api.Status{}, err
	}
	s := f.status[0]
	if len(f.status) > 1 {
		f.status = f.status[1:]
	}
	return s, nil
}

func (f *fake) Groups(context.Context) ([]api.Group, error) {
	list := []api.Group{}
	for _, name := range sortedKeys(f.groups) {
		list = append(list, f.groups[name])
	}
	return list, f.fail()
}

func (f *fake) Group(_ context.Context, name string) (api.Group, error) {
	if f.gone {
		return api.Group{}, fmt.Errorf("%w: http://lock-1: connection refused", client.ErrUnreachable)
	}
	g, ok := f.groups[name]
	if !ok {
		return g, api.Errorf(api.UnknownGroup, "group %q does not exist", name)
	}
	return g, nil
}

func (f *fake) Nodes(_ context.Context, q api.NodeQuery) (api.NodeList, error) {
	all := f.nodes[q.Group]
	at, _ := strconv.Atoi(q.After)
	list := api.NodeList{Nodes: all[at:min(at+2, len(all))], Total: len(all)}
	if at+2 < len(all) {
		list.Next = strconv.Itoa(at + 2)
	}
	return list, nil
}

func (f *fake) PutGroup(_ context.Context, name string, spec api.GroupSpec, ifMatch string) (api.Group, error) {
	if f.put != nil {
		f.put()
	}
	g, ok := f.groups[name]
	if ok && ifMatch != strconv.FormatInt(g.Revision, 10) || !ok && ifMatch != "*" {
		return api.Group{}, api.Errorf(api.Changed, "group %q is at revision %d", name, g.Revision)
	}
	g = api.Group{Name: name, Revision: g.Revision + 1, Spec: spec}
	f.groups[name] = g
	if name == f.lost {
		f.gone = true
		return api.Group{}, fmt.Errorf("%w: http://lock-1: EOF", client.ErrUnreachable)
	}
	return g, nil
}

func (f *fake) Rollouts(context.Context) ([]api.Rollout, error) { return f.rollouts[:1], nil }

func (f *fake) Rollout(context.Context, string) (api.Rollout, error) {
	if err := f.fail(); err != nil {
		return api.Rollout{}, err
	}
	r := f.rollouts[0]
	if len(f.rollouts) > 1 {
		f.rollouts = f.rollouts[1:]
	}
	return r, nil
}

func (f *fake) CreateRollout(_ context.Context, spec api.RolloutSpec, _ string) (api.Rollout, bool, error) {
	f.started = spec
	return api.Rollout{ID: "01ROLL", State: api.RolloutRunning}, true, f.fail()
}

func (f *fake) RolloutAction(_ context.Context, _, action string, req api.RolloutActionRequest) (api.Rollout, error) {
	f.acted = append(f.acted, fmt.Sprintf("%s %d %s %s", action, req.Wave, req.Gate, req.Reason))
	f.stops = append(f.stops, req.StoppedAt)
	return f.rollouts[0], f.fail()
}

func (f *fake) Bundles(context.Context) ([]api.Bundle, error) { return f.bundles, f.fail() }

func (f *fake) Revoke(_ context.Context, group, node string, req api.RevokeRequest) (api.Hold, error) {
	f.revoked = append(f.revoked, req)
	return api.Hold{Group: group, Node: node, Fence: req.Fence, State: "revoked"}, nil
}

func (f *fake) ForceRelease(_ context.Context, _, _ string, req api.ReleaseRequest) error {
	if f.refuse != nil {
		return f.refuse
	}
	f.released = append(f.released, req)
	return nil
}

// shell runs command lines against a coordinator.
type shell struct {
	connect func(client.Config) (coordinator, error)
	stdin   string
	inTTY   bool
	outTTY  bool
	colour  bool
}

func newShell(c coordinator) *shell {
	return &shell{connect: func(client.Config) (coordinator, error) { return c, nil }}
}

type result struct {
	code     int
	out, err string
}

func (s *shell) run(t *testing.T, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{
		in: strings.NewReader(s.stdin), out: &out, err: &errs,
		inTTY: s.inTTY, outTTY: s.outTTY, colour: s.colour,
		now: func() time.Time { return noon }, every: time.Millisecond, connect: s.connect,
	}
	root := newRoot(a)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(t.Context())
	return result{a.exit(cmd, err, false), out.String(), errs.String()}
}

// want checks the exit code and that texts are in the output or the errors.
func (r result) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	for _, text := range texts {
		if !strings.Contains(r.out, text) && !strings.Contains(r.err, text) {
			t.Errorf("neither output nor errors have %q", text)
		}
	}
	if t.Failed() {
		t.Logf("output:\n%s\nerrors:\n%s", r.out, r.err)
	}
}
