package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/agent/host"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

const node = "n1"

// coordinator is one in memory, with one group of slots. It is as strict as a
// real one about fences and instances.
type coordinator struct {
	mu          sync.Mutex
	cluster     string
	incarnation int64
	slots       int
	wanted      *api.Wanted
	hold        *api.Hold // of the node
	others      int       // slots that others hold
	next        int64
	queued      bool
	frozen      bool
	down        bool // no answer to anything
	bundles     map[string][]byte
	known       map[string]api.Bundle // what is said of them: signatures, URL
	report      api.Report
	confirmed   time.Time // when the last successful confirm arrived
	calls       map[string]int
	tag         int
	changed     chan struct{}
	nextPollS   int
	refuse      map[string]error  // by call
	garble      func(h *api.Hold) // of the holds that are answered
	reason      string            // that the slot was asked for with
	foreign     string            // a request about the hold in a group that it is not of
	// on is called, unlocked, before a request is handled.
	on func(call string)
}

func newCoordinator() *coordinator {
	return &coordinator{
		cluster: "c1", incarnation: 1, slots: 1, next: 7, bundles: map[string][]byte{}, known: map[string]api.Bundle{},
		calls: map[string]int{}, changed: make(chan struct{}),
	}
}

// change changes the coordinator and wakes who waits.
func (c *coordinator) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	c.tag++
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *coordinator) enter(call string) error {
	if c.on != nil {
		c.on(call)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[call]++
	if c.down {
		return errors.New("connection refused")
	}
	return c.refuse[call]
}

// called is how often something was asked.
func (c *coordinator) called(call string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[call]
}

func (c *coordinator) Poll(ctx context.Context, _ string, req api.PollRequest) (api.PollResponse, error) {
	if err := c.enter("poll"); err != nil {
		return api.PollResponse{}, err
	}
	deadline := time.After(time.Duration(req.WaitS) * time.Second)
	for {
		c.mu.Lock()
		if req.Cluster != "" && req.Cluster != c.cluster {
			c.mu.Unlock()
			return api.PollResponse{}, api.Errorf(api.WrongCluster, "this is cluster %s", c.cluster)
		}
		if req.Report.Seq > c.report.Seq {
			c.report = req.Report
		}
		tag := fmt.Sprint(c.tag)
		resp := api.PollResponse{Cluster: c.cluster, Incarnation: c.incarnation, Tag: tag, Wanted: c.wanted, Hold: c.hold, NextPollS: c.nextPollS}
		changed := c.changed
		c.mu.Unlock()
		if tag != req.Seen {
			return resp, nil
		}
		select {
		case <-changed:
		case <-deadline:
			return resp, nil
		case <-ctx.Done():
			return api.PollResponse{}, ctx.Err()
		}
	}
}

func (c *coordinator) Acquire(ctx context.Context, group, id string, req api.AcquireRequest, wait time.Duration) (api.AcquireResponse, error) {
	if err := c.enter("acquire"); err != nil {
		return api.AcquireResponse{}, err
	}
	deadline := time.After(wait)
	for {
		c.mu.Lock()
		c.reason = req.Reason
		if c.hold != nil && c.hold.Instance == req.Instance && c.hold.State != "revoked" {
			h := *c.hold
			c.at(group)
			if c.garble != nil {
				c.garble(&h)
			}
			c.mu.Unlock()
			return api.AcquireResponse{Hold: h}, nil
		}
		if c.hold == nil && c.others < c.slots && !c.frozen {
			c.hold = &api.Hold{Group: group, Node: id, State: "granted", Via: "agent", Instance: req.Instance, Fence: c.next}
			c.next++
			c.queued = false
			h := *c.hold
			c.at(group)
			if c.garble != nil {
				c.garble(&h)
			}
			c.mu.Unlock()
			return api.AcquireResponse{Hold: h}, nil
		}
		c.queued = true
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-deadline:
			return api.AcquireResponse{}, &api.Error{Kind: api.Full, Detail: "full", Blockers: []api.Blocker{{Kind: api.Full, Detail: "1 of 1 slot is held"}}, Place: 1}
		case <-ctx.Done():
			return api.AcquireResponse{}, ctx.Err()
		}
	}
}

// at notes a request about the hold that goes to another group.
func (c *coordinator) at(group string) {
	if c.hold != nil && c.hold.Group != "" && c.hold.Group != group {
		c.foreign = "a hold of group " + c.hold.Group + ", asked for in group " + group
	}
}

func (c *coordinator) Confirm(_ context.Context, group, _ string, req api.ConfirmRequest) (api.Hold, error) {
	if err := c.enter("confirm"); err != nil {
		return api.Hold{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at(group)
	switch {
	case c.hold == nil, c.hold.Fence != req.Fence, c.hold.Instance != req.Instance, c.hold.State == "revoked":
		return api.Hold{}, api.Errorf(api.StaleFence, "no hold with fence %d", req.Fence)
	case c.frozen:
		return api.Hold{}, api.Errorf(api.Frozen, "the fleet is frozen")
	}
	h := *c.hold
	h.State, h.BootID = "confirmed", req.BootID
	c.hold = &h
	c.confirmed = time.Now()
	if c.garble != nil {
		c.garble(&h)
	}
	return h, nil
}

func (c *coordinator) Release(_ context.Context, group, _ string, fence int64, instance string) error {
	if err := c.enter("release"); err != nil {
		return err
	}
	c.change(func() {
		c.at(group)
		if c.hold != nil && c.hold.Fence == fence && c.hold.Instance == instance {
			c.hold = nil
		}
	})
	return nil
}

func (c *coordinator) LeaveQueue(context.Context, string, string) error {
	if err := c.enter("leave"); err != nil {
		return err
	}
	c.change(func() { c.queued = false })
	return nil
}

func (c *coordinator) Bundle(_ context.Context, digest string) (api.Bundle, error) {
	if err := c.enter("describe"); err != nil {
		return api.Bundle{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known, isKnown := c.known[digest]
	body, ok := c.bundles[digest]
	if !ok && !isKnown {
		return api.Bundle{}, api.Errorf(api.NotFound, "no bundle %s", digest)
	}
	known.Digest = digest
	if !isKnown || known.Size == 0 {
		known.Size = int64(len(body))
	}
	return known, nil
}

func (c *coordinator) OpenBundle(_ context.Context, digest string) (io.ReadCloser, int64, error) {
	if err := c.enter("bundle"); err != nil {
		return nil, 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.bundles[digest]
	if !ok {
		return nil, 0, api.Errorf(api.NotFound, "no bundle %s", digest)
	}
	return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
}

// want makes the coordinator want a bundle, nil for nothing.
func (c *coordinator) want(w *api.Wanted) { c.change(func() { c.wanted = w }) }

// simHost is embedded under a name that is not that of its method Simulated.
type simHost = host.Simulated

// watched is a simulated host that fails the test when it is drained or
// rebooted without a hold that was confirmed within GateFor.
type watched struct {
	*simHost
	t *testing.T
	c *coordinator

	mu       sync.Mutex
	out      bool
	drains   int
	undrains int
	drain    func() error // nil: succeeds
	hook     func(point host.HookPoint) error
	users    func() ([]string, error)
	reboot   func() error // nil: the simulated one
	units    []string
	run      func(line string, env []string) error
}

func (w *watched) gated(act string) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if w.c.hold == nil || w.c.hold.State != "confirmed" {
		w.t.Errorf("%s without a confirmed hold: %+v", act, w.c.hold)
	}
	if age := time.Since(w.c.confirmed); age > GateFor {
		w.t.Errorf("%s %s after the last confirm", act, age)
	}
}

func (w *watched) Drain(ctx context.Context, env []string) error {
	w.gated("drain")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drains++
	if w.drain != nil {
		if err := w.drain(); err != nil {
			return err
		}
	}
	w.out = true
	return w.simHost.Drain(ctx, env)
}

func (w *watched) Undrain(ctx context.Context, env []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.undrains++
	w.out = false
	return w.simHost.Undrain(ctx, env)
}

func (w *watched) Hook(ctx context.Context, point host.HookPoint, env []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hook != nil {
		return w.hook(point)
	}
	return w.simHost.Hook(ctx, point, env)
}

func (w *watched) Users(ctx context.Context) ([]string, error) {
	if w.users != nil {
		return w.users()
	}
	return w.simHost.Users(ctx)
}

func (w *watched) drained() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.drains
}

func (w *watched) isOut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out
}

func (w *watched) Units(_ context.Context, verb bundle.Interrupt, units []string) error {
	w.gated(string(verb))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.units = append(w.units, string(verb)+" "+strings.Join(units, " "))
	return nil
}

func (w *watched) Run(_ context.Context, c host.Command) (string, error) {
	if w.run == nil {
		return "", nil
	}
	return "output", w.run(c.Line, c.Env)
}

func (w *watched) Reboot(ctx context.Context, soft bool) error {
	w.gated("reboot")
	if w.reboot != nil {
		return w.reboot()
	}
	return w.simHost.Reboot(ctx, soft)
}

// world is a coordinator, a host and the agent between them.
type world struct {
	t    *testing.T
	c    *coordinator
	h    *watched
	cfg  Config
	root string
	sick func(bundle string) string // nil: always healthy
	fail func(step string) error    // nil: no crash

	cancel context.CancelFunc
	ended  chan error
}

func newWorld(t *testing.T) *world {
	dir := t.TempDir()
	w := &world{t: t, c: newCoordinator(), root: filepath.Join(dir, "root")}
	sim, err := host.NewSimulated(host.SimConfig{
		Node: node, Dir: w.root, RebootTime: time.Minute,
		FailHealth: func(_, b string) string {
			if w.sick == nil {
				return ""
			}
			return w.sick(b)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.h = &watched{simHost: sim, t: t, c: w.c}
	w.cfg = Config{
		Node: node, Group: "web", Labels: map[string]string{"zone": "a"}, StateDir: filepath.Join(dir, "state"),
		Coordinator: w.c, Host: w.h, Retry: 100 * time.Millisecond,
		Failpoint: func(step string) error {
			if w.fail == nil {
				return nil
			}
			return w.fail(step)
		},
	}
	return w
}

// start runs the agent, with its reboots, until stop.
func (w *world) start() {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel, w.ended = cancel, make(chan error, 1)
	go func() {
		for {
			err := New(w.cfg).Run(ctx)
			if errors.Is(err, host.ErrRebooting) {
				if w.h.Boot(ctx) == nil {
					continue
				}
				err = nil
			}
			w.ended <- err
			return
		}
	}()
}

func (w *world) stop() {
	w.t.Helper()
	w.cancel()
	if err := <-w.ended; err != nil {
		w.t.Errorf("the agent ended: %v", err)
	}
}

// until waits, in the bubble's time, for at most an hour. It looks when all
// stand still: what the agent does in that instant is done.
func (w *world) until(what string, cond func() bool) {
	w.t.Helper()
	for range 36000 {
		synctest.Wait()
		if cond() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	s, err := ReadJournal(w.cfg.StateDir)
	w.cancel()
	<-w.ended
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.t.Fatalf("never: %s\njournal %+v (%v)\nreport %+v\nhold %+v\ncalls %v", what, s, err, w.c.report, w.c.hold, w.c.calls)
}

func (w *world) reported(cond func(r api.Report) bool) func() bool {
	return func() bool {
		w.c.mu.Lock()
		defer w.c.mu.Unlock()
		return cond(w.c.report)
	}
}

func (w *world) phase(p api.Phase) {
	w.t.Helper()
	w.until("phase "+string(p), w.reported(func(r api.Report) bool { return r.Phase == p }))
}

func (w *world) journal() State {
	w.t.Helper()
	s, err := ReadJournal(w.cfg.StateDir)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// write puts a file on the host.
func (w *world) write(path, text string, mode os.FileMode) {
	w.t.Helper()
	file := filepath.Join(w.root, path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		w.t.Fatal(err)
	}
}

// files lists all that is below the host's root, as "path mode content".
func (w *world) files() string {
	w.t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(w.root, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(w.root, name)
		if err != nil {
			return err
		}
		switch {
		case name == w.cfg.StateDir:
			return filepath.SkipDir
		case d.IsDir():
			fmt.Fprintf(&b, "%s/\n", rel)
			return nil
		case d.Type() == os.ModeSymlink:
			to, err := os.Readlink(name)
			fmt.Fprintf(&b, "%s -> %s\n", rel, to)
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(name)
		fmt.Fprintf(&b, "%s %04o %q\n", rel, info.Mode().Perm(), text)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return b.String()
}

// publish encodes a bundle, gives it to the coordinator and returns its digest.
func (w *world) publish(m bundle.Manifest, content map[string]string) string {
	w.t.Helper()
	body := map[string][]byte{}
	for p, text := range content {
		body[p] = []byte(text)
	}
	b, err := bundle.Encode(m, body)
	if err != nil {
		w.t.Fatal(err)
	}
	digest := bundle.Digest(b)
	w.c.change(func() { w.c.bundles[digest] = b })
	return digest
}

// standard is a bundle that replaces a file, adds one, and makes a folder.
func (w *world) standard(interrupt bundle.Interrupt) string {
	w.t.Helper()
	var units []string
	if interrupt == bundle.InterruptReload || interrupt == bundle.InterruptRestart {
		units = []string{"web.service"}
	}
	w.write("etc/web.conf", "old\n", 0o600)
	return w.publish(bundle.Manifest{
		Name: "web 2",
		Files: []bundle.File{
			{Path: "/etc/web.conf", Mode: "0640", Interrupt: interrupt, Units: units},
			{Path: "/etc/zone", Render: true},
			{Path: "/srv/web/new/index", Mode: "0755"},
		},
		Health:         []bundle.Probe{{TCP: "127.0.0.1:1"}},
		MinHealthyTime: bundle.Duration(2 * time.Second), HealthyDeadline: bundle.Duration(time.Minute),
	}, map[string]string{"/etc/web.conf": "new\n", "/etc/zone": "zone {{label.zone}} of {{ node }}\n", "/srv/web/new/index": "hi\n"})
}

const (
	standardBefore = "./\netc/\netc/web.conf 0600 \"old\\n\"\n"
	standardAfter  = "./\netc/\netc/web.conf 0640 \"new\\n\"\netc/zone 0644 \"zone a of n1\\n\"\nsrv/\nsrv/web/\nsrv/web/new/\nsrv/web/new/index 0755 \"hi\\n\"\n"
)

func wanted(digest string) *api.Wanted {
	return &api.Wanted{Rollout: "r1", Bundle: digest, Name: "web 2"}
}
