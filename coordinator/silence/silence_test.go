package silence

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/ask"
	"github.com/lockkeeper/lockkeeper/internal/monitortest"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// world is a group "web" and what its nodes report.
type world struct {
	mu      sync.Mutex
	holds   map[string]semaphore.Hold
	phases  map[string]api.Phase
	freeze  *semaphore.Freeze
	changed chan struct{}
}

func newWorld() *world {
	return &world{holds: map[string]semaphore.Hold{}, phases: map[string]api.Phase{}, changed: make(chan struct{})}
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	holds, phases := maps.Clone(w.holds), maps.Clone(w.phases)
	w.holds, w.phases = holds, phases
	change()
	close(w.changed)
	w.changed = make(chan struct{})
}

// hold puts one of half an hour, with this state.
func (w *world) hold(node string, state semaphore.HoldState) {
	w.set(func() {
		w.holds[node] = semaphore.Hold{
			Node: node, State: state, Fence: 7, Labels: map[string]string{"zone": "a"}, Deadline: time.Now().Add(30 * time.Minute), Reason: "kernel",
		}
	})
}

func (w *world) release(node string) { w.set(func() { delete(w.holds, node) }) }

func (w *world) Groups() []string { return []string{"web"} }

func (w *world) Look(string) (semaphore.State, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return semaphore.State{Holds: w.holds, Freeze: w.freeze}, true
}

func (w *world) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func (w *world) phase(node string) (api.Phase, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.phases[node]
	return p, ok
}

// lines are what was logged at warn and above, and infos.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// begin starts a Silencer that is elected, until the test ends. It is patient with a
// busy Alertmanager.
func begin(t *testing.T, server string, w *world, edit func(*Config)) *Silencer {
	t.Helper()
	return beginWithin(t, 20*time.Second, server, w, edit)
}

// beginWithin is begin with a time in which a request is to be answered.
func beginWithin(t *testing.T, within time.Duration, server string, w *world, edit func(*Config)) *Silencer {
	t.Helper()
	cfg := Config{
		Alertmanager: ask.Service{URL: server}, Semaphores: w, Phase: w.phase, Fleet: w.Changed,
		Elected: func() bool { return true }, Cluster: func() string { return "c1" }, Linger: time.Second,
	}
	if edit != nil {
		edit(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.within = within
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// active are the silences that have not ended.
func active(t *testing.T, server *monitortest.Server) []silence {
	t.Helper()
	var all []silence
	server.Call(http.MethodGet, "/api/v2/silences", nil, &all)
	var out []silence
	for _, s := range all {
		if s.Status.State != "expired" {
			out = append(out, s)
		}
	}
	return out
}

// firing are the instances whose alerts are not silenced.
func firing(t *testing.T, server *monitortest.Server) string {
	t.Helper()
	var list []struct {
		Labels map[string]string `json:"labels"`
	}
	server.Call(http.MethodGet, "/api/v2/alerts?active=true&silenced=false", nil, &list)
	var out []string
	for _, a := range list {
		out = append(out, a.Labels["instance"])
	}
	return strings.Join(out, " ")
}

// metric is the value of one; label is that of its only label, if it has one.
func metric(t *testing.T, reg *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestSilence_LastsWhileTheHostIsOutOfService(t *testing.T) {
	t.Parallel()
	server, w := monitortest.Alertmanager(t), newWorld()
	for _, instance := range []string{"web-1:9100", "web-11:9100", "webx1:9100"} {
		server.Alert(map[string]string{"alertname": "Down", "instance": instance})
	}
	all := firing(t, server)
	if len(strings.Fields(all)) != 3 {
		t.Fatalf("firing: %q, want all three", all)
	}
	reg := prometheus.NewRegistry()
	begin(t, server.URL, w, func(c *Config) { c.Registerer = reg })

	// A grant is none yet: nobody has confirmed it.
	w.hold("web.1", semaphore.Granted)
	w.hold("web-1", semaphore.Granted)
	eventually(t, "the silences were read", func() bool { return metric(t, reg, "lockkeeper_silence_requests_total", "ok") > 0 })
	if got := active(t, server); len(got) != 0 {
		t.Fatalf("silences for grants that nobody confirmed: %+v", got)
	}
	w.hold("web-1", semaphore.Confirmed)
	var loud string
	eventually(t, "web-1 is silenced, and no other", func() bool {
		loud = firing(t, server)
		return len(strings.Fields(loud)) == 2
	})
	if slices.Contains(strings.Fields(loud), "web-1:9100") {
		t.Errorf("firing %q, want all but web-1", loud)
	}
	got := active(t, server)
	if len(got) != 1 || got[0].CreatedBy != "lockkeeper/c1" || !strings.Contains(got[0].Comment, `node "web-1" of group "web" is out of service, by hold 7: kernel`) {
		t.Fatalf("silences %+v", got)
	}
	if ends := time.Until(got[0].EndsAt); ends < 4*time.Minute || ends > 6*time.Minute {
		t.Errorf("it ends in %s, want 5 min: it ends by itself if nobody renews it", ends)
	}
	eventually(t, "lockkeeper_silences is 1", func() bool { return metric(t, reg, "lockkeeper_silences", "") == 1 })

	// A node whose id has characters of regular expressions silences itself alone.
	w.hold("web.1", semaphore.Confirmed)
	eventually(t, "there are two silences", func() bool { return len(active(t, server)) == 2 })
	if !strings.Contains(firing(t, server), "webx1:9100") {
		t.Error("the silence of web.1 is one of webx1 too")
	}

	w.release("web-1")
	w.release("web.1")
	eventually(t, "all alerts are back", func() bool { return len(strings.Fields(firing(t, server))) == 3 })
	eventually(t, "the gauge is 0", func() bool { return metric(t, reg, "lockkeeper_silences", "") == 0 })
}

func TestSilence_IsOneThatIsRenewedUntilTheDeadline(t *testing.T) {
	t.Parallel()
	server, w := monitortest.Alertmanager(t), newWorld()
	begin(t, server.URL, w, func(c *Config) { c.For = 20 * time.Second })
	w.hold("a", semaphore.Confirmed)
	eventually(t, "there is a silence", func() bool { return len(active(t, server)) == 1 })
	first := active(t, server)[0]
	eventually(t, "it was renewed twice", func() bool {
		now := active(t, server)
		if len(now) != 1 || now[0].ID != first.ID {
			t.Fatalf("silences %+v, want the first one alone", now)
		}
		return now[0].EndsAt.Sub(first.EndsAt) > 5*time.Second
	})
	// Its deadline was longer ago than a silence may last: somebody is to hear.
	w.set(func() {
		h := w.holds["a"]
		h.Deadline = time.Now().Add(time.Second - pastDeadline)
		w.holds["a"] = h
	})
	eventually(t, "it ended", func() bool { return len(active(t, server)) == 0 })
	time.Sleep(2 * coalesce) // it would be made anew by now
	if got := active(t, server); len(got) != 0 {
		t.Errorf("a silence past the deadline: %+v", got)
	}
}

// The clock of a hold stands still while the fleet is frozen: its silence is renewed
// for as long as that takes, however long ago the deadline was by the wall clock.
func TestSilence_IsRenewedThroughALongFreeze(t *testing.T) {
	t.Parallel()
	server, w := monitortest.Alertmanager(t), newWorld()
	began := time.Now().Add(-24 * time.Hour)
	w.set(func() {
		w.freeze = &semaphore.Freeze{ID: "f", At: began.Add(time.Minute)}
		w.holds["a"] = semaphore.Hold{Node: "a", State: semaphore.Confirmed, Fence: 7, Since: began, Deadline: began.Add(30 * time.Minute)}
	})
	begin(t, server.URL, w, func(c *Config) { c.For = 10 * time.Second })
	eventually(t, "there is a silence", func() bool { return len(active(t, server)) == 1 })
	first := active(t, server)[0]
	eventually(t, "it was renewed", func() bool {
		now := active(t, server)
		return len(now) == 1 && now[0].ID == first.ID && now[0].EndsAt.Sub(first.EndsAt) > 2*time.Second
	})
	w.set(func() { // its deadline had passed when the fleet was frozen
		w.freeze = &semaphore.Freeze{ID: "f", At: began.Add(time.Hour)}
	})
	eventually(t, "it ended", func() bool { return len(active(t, server)) == 0 })
}

func TestSilence_TheNextElectedOneGoesOnWithIt(t *testing.T) {
	t.Parallel()
	server, w := monitortest.Alertmanager(t), newWorld()
	var turn atomic.Int32
	of := func(n int32) func(*Config) {
		return func(c *Config) {
			c.For = 20 * time.Second
			c.Elected = func() bool { return turn.Load() == n }
		}
	}
	w.hold(`odd "node" \ of`, semaphore.Confirmed)
	w.hold("b", semaphore.Confirmed)
	begin(t, server.URL, w, of(1))
	begin(t, server.URL, w, of(2))
	turn.Store(1)
	eventually(t, "there are silences", func() bool { return len(active(t, server)) == 2 })
	first := active(t, server)
	turn.Store(2)
	eventually(t, "the second one renews them", func() bool {
		now := active(t, server)
		if len(now) != 2 {
			t.Fatalf("silences %+v, want the same two", now)
		}
		for _, s := range now {
			for _, f := range first {
				if s.ID == f.ID && s.EndsAt.Sub(f.EndsAt) < 2*time.Second {
					return false
				}
			}
		}
		return true
	})
	for _, s := range active(t, server) {
		if s.ID != first[0].ID && s.ID != first[1].ID {
			t.Errorf("silence %+v is a new one", s)
		}
	}
}

// TestSilence_WhatALostAnswerMadeTwiceIsEnded: and what another cluster made for a
// node of that name is not touched.
func TestSilence_WhatALostAnswerMadeTwiceIsEnded(t *testing.T) {
	t.Parallel()
	server, w := monitortest.Alertmanager(t), newWorld()
	w.hold("a", semaphore.Confirmed)
	first := begin(t, server.URL, w, nil)
	eventually(t, "there is a silence", func() bool { return len(active(t, server)) == 1 })
	first.Stop()
	made := active(t, server)[0]
	post := func(by string) {
		made.ID, made.Status, made.CreatedBy, made.EndsAt = "", nil, by, time.Now().Add(time.Hour)
		server.Call(http.MethodPost, "/api/v2/silences", made, nil)
	}
	post("lockkeeper/c1")
	post("lockkeeper/c2")
	begin(t, server.URL, w, nil)
	by := func() string {
		var list []string
		for _, s := range active(t, server) {
			list = append(list, s.CreatedBy)
		}
		slices.Sort(list)
		return strings.Join(list, " ")
	}
	eventually(t, "one of this cluster is left", func() bool { return by() == "lockkeeper/c1 lockkeeper/c2" })
	w.release("a")
	eventually(t, "only that of the other cluster is left", func() bool { return by() == "lockkeeper/c2" })
}

func TestSilence_OfAFailedNodeEndsAtOnce(t *testing.T) {
	t.Parallel()
	server, w := monitortest.Alertmanager(t), newWorld()
	begin(t, server.URL, w, func(c *Config) { c.Linger = 4 * time.Minute })
	w.hold("a", semaphore.Confirmed)
	eventually(t, "there is a silence", func() bool { return len(active(t, server)) == 1 })
	w.set(func() { w.phases["a"] = api.PhaseFailed })
	eventually(t, "it ended", func() bool { return len(active(t, server)) == 0 })
	w.set(func() { w.phases["a"] = api.PhaseApplying })
	eventually(t, "it is tried again, silently", func() bool { return len(active(t, server)) == 1 })
	w.release("a")
	eventually(t, "the silence lingers", func() bool {
		now := active(t, server)
		if len(now) != 1 {
			return false
		}
		ends := time.Until(now[0].EndsAt)
		return ends < 4*time.Minute && ends > 3*time.Minute
	})
}

func TestSilence_AnAlertmanagerThatHangsIsLoggedOnceAndTriedAgain(t *testing.T) {
	t.Parallel()
	server, w := monitortest.Alertmanager(t), newWorld()
	log, reg := &lines{}, prometheus.NewRegistry()
	s := beginWithin(t, time.Second, server.URL, w, func(c *Config) {
		c.Logger, c.Registerer = slog.New(slog.NewTextHandler(log, nil)), reg
	})
	eventually(t, "the silences were read", func() bool { return metric(t, reg, "lockkeeper_silence_requests_total", "ok") > 0 })
	server.Pause()
	before := log.count("cannot be kept") // by a busy one at the start
	w.hold("a", semaphore.Confirmed)
	eventually(t, "it is told", func() bool {
		why, since := s.Failure()
		return strings.Contains(why, "no answer within 1s") && !since.IsZero()
	})
	eventually(t, "it is tried again", func() bool { return metric(t, reg, "lockkeeper_silence_requests_total", "failed") >= 2 })
	if n := log.count("cannot be kept") - before; n != 1 {
		t.Errorf("logged %d times, want once", n)
	}
	eventually(t, "lockkeeper_silences_failing is 1", func() bool { return metric(t, reg, "lockkeeper_silences_failing", "") == 1 })
	server.Continue()
	eventually(t, "the silence is made", func() bool { return len(active(t, server)) == 1 })
	eventually(t, "it is told", func() bool { why, _ := s.Failure(); return why == "" && log.count("are kept again") > before })
	eventually(t, "lockkeeper_silences_failing is 0", func() bool { return metric(t, reg, "lockkeeper_silences_failing", "") == 0 })
	// What the paused one was asked, it may have done when it went on.
	if got := active(t, server); len(got) != 1 {
		t.Errorf("silences %+v, want one", got)
	}
}

func TestSilence_OneThatCannotBeMadeKeepsNoOther(t *testing.T) {
	t.Parallel()
	server, w := monitortest.Alertmanager(t), newWorld()
	s := begin(t, server.URL, w, func(c *Config) { c.Matchers = []string{`host="{node}"`, `rack="{label.rack}"`} })
	w.hold("a", semaphore.Confirmed)
	eventually(t, "it is told", func() bool { why, _ := s.Failure(); return strings.Contains(why, "node a has no label rack") })
	w.set(func() {
		w.holds["b"] = semaphore.Hold{Node: "b", State: semaphore.Confirmed, Labels: map[string]string{"rack": "r1"}}
	})
	eventually(t, "b has its silence", func() bool { return len(active(t, server)) == 1 })
	if got := fmt.Sprint(active(t, server)[0].Matchers); got != `[{host b false true} {rack r1 false true}]` {
		t.Errorf("matchers %s", got)
	}
	w.release("a")
	eventually(t, "nothing is wrong any more", func() bool { why, _ := s.Failure(); return why == "" })
}

// TestSilence_AnAlertmanagerThatLostItsDataGetsThemAgain: another one takes its
// place at the same address.
func TestSilence_AnAlertmanagerThatLostItsDataGetsThemAgain(t *testing.T) {
	t.Parallel()
	old, w := monitortest.Alertmanager(t), newWorld()
	var target atomic.Pointer[url.URL]
	point := func(s *monitortest.Server) {
		u, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		target.Store(u)
	}
	point(old)
	front := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target.Load()) }})
	t.Cleanup(front.Close)
	log := &lines{}
	begin(t, front.URL, w, func(c *Config) { c.For, c.Logger = 2*time.Second, slog.New(slog.NewTextHandler(log, nil)) })
	w.hold("a", semaphore.Confirmed)
	eventually(t, "there is a silence", func() bool { return len(active(t, old)) == 1 })
	fresh := monitortest.Alertmanager(t)
	point(fresh)
	eventually(t, "the new one has it too", func() bool { return len(active(t, fresh)) == 1 })
	if n := log.count("cannot be kept"); n != 0 {
		t.Errorf("it was logged as a failure %d times", n)
	}
}

func TestCheckMatchers_WantsTheNodeInOne(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		DefaultMatcher: "", `host="{node}"`: "", `host=~"{node}|{node}\\..*"`: "",
		`severity="warning"`: "want a matcher with = or =~ that has {node}", `host!="{node}"`: "want a matcher with = or =~",
		`zone="{label.zone}"`: "want a matcher with = or =~", `"{node}"="x"`: "in the value only",
		`host=~"{node}("`: "missing closing )", `host`: "want one such as",
	} {
		if err := CheckMatchers([]string{text}); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
