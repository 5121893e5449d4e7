package etcdstore

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/notify"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/internal/freeport"
)

// listener is a webhook's server, and what reached it.
type listener struct {
	*httptest.Server
	mu     sync.Mutex
	got    []string                           // "WHAT ID", of what was answered with 200
	answer func(try int, _ *http.Request) int // nil: 200
	tries  int
}

func newListener(t *testing.T) *listener {
	l := &listener{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		l.mu.Lock()
		l.tries++
		try, answer := l.tries, l.answer
		l.mu.Unlock()
		status := http.StatusOK
		if answer != nil {
			status = answer(try, r)
		}
		if status == http.StatusOK {
			l.mu.Lock()
			l.got = append(l.got, string(text)+" "+r.Header.Get("webhook-id"))
			l.mu.Unlock()
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *listener) received() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string{}, l.got...)
}

// send posts a notice; its URL is the webhook's name.
func send(ctx context.Context, n rollout.Notice, to api.NotifySpec) error {
	return (&notify.Sender{}).Send(ctx, notify.Hook{URL: to.URL}, notify.Message{ID: n.ID(), Type: n.What, At: n.At, Data: n.State})
}

// teller starts an engine that can tell webhooks.
func (w *world) teller(tell func(context.Context, rollout.Notice, api.NotifySpec) error) *rollout.Engine {
	w.t.Helper()
	e := rollout.NewEngine(rollout.EngineConfig{Store: w.store(), Fleet: w, Semaphores: w.sems, Notify: tell})
	if err := e.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(e.Stop)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.engines = append(w.engines, e)
	return e
}

// noticeKeys are the rollout's notices that are still stored.
func (w *world) noticeKeys(id string) int {
	w.t.Helper()
	resp, err := etcd.Client().Get(w.t.Context(), w.prefix+"rollouts/"+id+"/notices/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		w.t.Fatal(err)
	}
	return int(resp.Count)
}

func tell(urls ...string) func(*api.RolloutSpec) {
	return func(s *api.RolloutSpec) {
		for _, u := range urls {
			s.OnHalt, s.OnDone = append(s.OnHalt, api.NotifySpec{URL: u}), append(s.OnDone, api.NotifySpec{URL: u})
		}
	}
}

func TestNotices_TellOfAHaltAndOfTheEndOnceEach(t *testing.T) {
	w := newWorld(t, 2, 1)
	l := newListener(t)
	e := w.teller(send)
	w.fails["n00"] = 1
	w.agents()
	r := w.create(e, tell(l.URL+"/T0SECRET"))
	w.comesTo(e, r.ID, api.RolloutHalted)
	w.eventually("the halt to be told", func() bool { return len(l.received()) == 1 })
	w.act(e, r.ID, rollout.ActRetry)
	w.comesTo(e, r.ID, api.RolloutSucceeded)
	w.eventually("the end to be told, and nothing to be left", func() bool { return len(l.received()) == 2 && w.noticeKeys(r.ID) == 0 })
	got := l.received()
	var first, second struct {
		Type string
		Data api.RolloutState
	}
	for i, into := range []any{&first, &second} {
		if err := json.NewDecoder(strings.NewReader(got[i])).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	if first.Type != "halted" || first.Data != api.RolloutHalted || second.Type != "succeeded" || second.Data != api.RolloutSucceeded {
		t.Errorf("told %q", got)
	}
	now, _ := e.Get(r.ID)
	shown, err := json.Marshal(now)
	if err != nil || strings.Contains(string(shown), "T0SECRET") || !strings.Contains(string(shown), l.URL) {
		t.Errorf("the rollout shows the webhook's secret, or not its host: %s, %v", shown, err)
	}
}

func TestNotices_ComeAgainAfterErrorsAndThroughAServerThatIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	l := newListener(t)
	l.answer = func(try int, _ *http.Request) int {
		if try == 1 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	}
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	e := w.teller(send)
	r := w.create(e, tell(l.URL, "http://"+address+"/T0SECRET"))
	w.act(e, r.ID, rollout.ActAbort)

	var shown []api.Undelivered
	w.eventually("both to be shown as undelivered", func() bool {
		now, _ := e.Get(r.ID)
		shown = now.Undelivered
		return len(shown) == 2
	})
	for _, u := range shown {
		if u.What != "aborted" || u.Tries != 1 || u.GaveUp || u.Detail == "" || strings.Contains(u.Detail+u.To, "T0SECRET") {
			t.Errorf("undelivered: %+v", u)
		}
	}
	up, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	reached := make(chan string, 10)
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached <- r.Header.Get("webhook-id") })}
	go func() { _ = server.Serve(up) }()
	t.Cleanup(func() { server.Close() })
	w.eventually("both to be told", func() bool { return len(l.received()) == 1 && len(reached) == 1 && w.noticeKeys(r.ID) == 0 })
	w.eventually("none to be shown", func() bool { now, _ := e.Get(r.ID); return len(now.Undelivered) == 0 })
}

func TestNotices_ASlowWebhookKeepsNoOtherAndNoRollout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 1)
	slow, quick := newListener(t), newListener(t)
	over := make(chan struct{})
	slow.answer = func(_ int, r *http.Request) int {
		select {
		case <-over:
		case <-r.Context().Done():
		}
		return http.StatusOK
	}
	t.Cleanup(func() { close(over) })
	e := w.teller(send)
	first := w.create(e, tell(slow.URL, quick.URL))
	w.act(e, first.ID, rollout.ActHalt)
	w.act(e, first.ID, rollout.ActAbort)
	w.agents()
	second := w.create(e, tell(slow.URL, quick.URL))
	w.comesTo(e, second.ID, api.RolloutSucceeded)
	w.eventually("the quick one to be told all", func() bool { return len(quick.received()) == 3 })
	if n := w.noticeKeys(first.ID) + w.noticeKeys(second.ID); n != 3 {
		t.Errorf("%d notices are kept for the slow one, want 3", n)
	}
}

func TestNotices_ALeaderThatDiesBetweenTellingAndWritingItLosesNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	l := newListener(t)
	told := make(chan struct{}, 10)
	first := w.teller(func(ctx context.Context, n rollout.Notice, to api.NotifySpec) error {
		err := send(ctx, n, to)
		told <- struct{}{}
		<-ctx.Done() // it is stopped before it can write that down
		return err
	})
	r := w.create(first, tell(l.URL))
	w.act(first, r.ID, rollout.ActAbort)
	<-told
	second := w.teller(send)
	if got := w.noticeKeys(r.ID); got != 1 {
		t.Fatalf("%d notices are stored, want the one that was told and not written down", got)
	}
	first.Stop()
	w.eventually("the next leader to tell it", func() bool { return len(l.received()) == 2 && w.noticeKeys(r.ID) == 0 })
	got := l.received()
	if got[0] != got[1] {
		t.Errorf("told twice, as two things: %q", got)
	}
	w.eventually("none to be shown", func() bool { now, _ := second.Get(r.ID); return len(now.Undelivered) == 0 })
}

func TestNotices_OneThatIsGoneIsGivenUpAndShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	l := newListener(t)
	l.answer = func(int, *http.Request) int { return http.StatusGone }
	e := w.teller(send)
	r := w.create(e, tell(l.URL))
	w.act(e, r.ID, rollout.ActAbort)
	w.eventually("it to be given up", func() bool {
		now, _ := e.Get(r.ID)
		return len(now.Undelivered) == 1 && now.Undelivered[0].GaveUp
	})
	if n := w.noticeKeys(r.ID); n != 1 {
		t.Errorf("%d notices are kept, want the one that was given up", n)
	}
}
