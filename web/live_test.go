package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/web"
)

// watcher reads a stream as a browser does.
type watcher struct {
	t      *testing.T
	cancel context.CancelFunc
	events chan streamEvent
	ended  chan struct{} // closed when the handler has returned
}

type streamEvent struct{ kind, id, html string }

// pipeWriter is the server's end of a stream that lives within the test.
type pipeWriter struct {
	header http.Header
	out    chan string
	ctx    context.Context
}

func (p *pipeWriter) Header() http.Header { return p.header }
func (p *pipeWriter) WriteHeader(int)     {}
func (p *pipeWriter) Flush()              {}
func (p *pipeWriter) Write(b []byte) (int, error) {
	select {
	case p.out <- string(b):
		return len(b), nil
	case <-p.ctx.Done():
		return 0, p.ctx.Err()
	}
}

// watch opens the stream of a topic; the test reads its events.
func watch(t *testing.T, h http.Handler, topic string) *watcher {
	return watchAs(t, h, topic, auth.Local())
}

func watchAs(t *testing.T, h http.Handler, topic string, who auth.Principal) *watcher {
	ctx, cancel := context.WithCancel(auth.With(t.Context(), who))
	w := &pipeWriter{header: http.Header{}, out: make(chan string), ctx: ctx}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/ui/stream?topic="+topic, nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.ServeHTTP(w, r)
	}()
	out := &watcher{t: t, cancel: cancel, events: make(chan streamEvent), ended: ended}
	go func() {
		for {
			select {
			case text := <-w.out:
				select {
				case out.events <- parseEvent(text):
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func parseEvent(text string) streamEvent {
	var ev streamEvent
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if kind, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			ev.kind = kind
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && ev.kind == "fragment" {
			var f struct{ ID, HTML string }
			_ = json.Unmarshal([]byte(data), &f)
			ev.id, ev.html = f.ID, f.HTML
		}
	}
	return ev
}

// until reads events until the fragment holds the text, and lists the ids seen.
func (w *watcher) until(id, holds string) (seen []string) {
	w.t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case ev := <-w.events:
			seen = append(seen, ev.id)
			if ev.id == id && strings.Contains(ev.html, holds) {
				return seen
			}
		case <-deadline:
			w.t.Fatalf("no fragment %q with %q; saw %q", id, holds, seen)
		}
	}
}

// quiet fails on any fragment within d; beats may come.
func (w *watcher) quiet(d time.Duration) {
	w.t.Helper()
	deadline := time.After(d)
	for {
		select {
		case ev := <-w.events:
			if ev.kind == "fragment" && ev.id != "slots-strip" { // which moves on by 30 s at a time
				w.t.Fatalf("fragment %q was sent, although nothing changed:\n%s", ev.id, ev.html)
			}
		case <-deadline:
			return
		}
	}
}

func hold(node string) api.Hold {
	return api.Hold{Group: "web", Node: node, State: "confirmed", Fence: 1, Since: time.Now()}
}

func twoGroups() *stage {
	b := newStage()
	b.status.Groups = []api.Group{{Name: "web", Status: api.GroupStatus{Slots: 2, Free: 2}}, {Name: "db", Status: api.GroupStatus{Slots: 1, Free: 1}}}
	return b
}

func TestStream_SendsOnlyWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoGroups()
		w := watch(t, web.New(b, web.Options{}), "overview")
		w.until("locks", "db")
		b.set(func(b *stage) {
			b.status.Groups[0].Holds = []api.Hold{hold("web-1")}
			b.status.Groups[0].Status.Held = 1
		})
		seen := w.until("lock-web", "web-1")
		for _, id := range seen {
			if id != "lock-web" && id != "revision" && id != "" {
				t.Errorf("fragment %q was sent too", id)
			}
		}
		w.cancel()
		synctest.Wait()
	})
}

func TestStream_PassingTimeSendsNothing(t *testing.T) {
	t.Parallel()
	for topic, last := range map[string]string{"overview": "locks", "group/web": "latest", "node/web-077": "journal", "nodes": "map", "events": "event-rows", "rollout/ro-7k2f": "latest", "rollouts": "rollout-list", "cluster": "latest", "page:nodes": "revision"} {
		t.Run(topic, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watch(t, web.New(busyFleet(), web.Options{}), topic)
				w.until(last, "")
				w.quiet(2 * time.Minute)
				w.cancel()
				synctest.Wait()
			})
		})
	}
}

func TestStream_GroupsThatComeAndGoReplaceTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoGroups()
		w := watch(t, web.New(b, web.Options{}), "overview")
		w.until("locks", "db")
		b.set(func(b *stage) { b.status.Groups = append(b.status.Groups, api.Group{Name: "edge"}) })
		w.until("locks", "edge")
		w.cancel()
		synctest.Wait()
	})
}

func TestStream_ASlowReaderGetsTheNewestStateNotTheBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoGroups()
		w := watch(t, web.New(b, web.Options{}), "overview")
		w.until("locks", "db")
		for i := range 1000 { // while nobody reads
			b.set(func(b *stage) { b.status.Sentence = "state " + string(rune('a'+i%26)) })
			time.Sleep(100 * time.Millisecond)
		}
		b.set(func(b *stage) { b.status.Sentence = "the last state" })
		time.Sleep(2 * time.Second)
		if seen := w.until("headline", "the last state"); len(seen) > 20 {
			t.Errorf("%d events before the newest state, want a few", len(seen))
		}
		w.cancel()
		synctest.Wait()
	})
}

func TestStream_ManyViewersShareOneRenderingAtMostTwiceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoGroups()
		h := web.New(b, web.Options{})
		var all []*watcher
		for range 50 {
			w := watch(t, h, "overview")
			w.until("locks", "db")
			go func() {
				for range w.events {
				}
			}()
			all = append(all, w)
		}
		b.mu.Lock()
		b.renders = 0
		b.mu.Unlock()
		for range 100 { // ten seconds of change
			b.set(func(b *stage) { b.status.Figures.Nodes++ })
			time.Sleep(100 * time.Millisecond)
		}
		b.mu.Lock()
		renders := b.renders
		b.mu.Unlock()
		if renders < 10 || renders > 22 {
			t.Errorf("%d renderings in 10 s for 50 viewers, want about 20", renders)
		}
		for _, w := range all {
			w.cancel()
		}
		synctest.Wait()
		for _, w := range all {
			close(w.events)
		}
	})
}

func TestStream_AFirstChangeAfterQuietIsSentAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoGroups()
		w := watch(t, web.New(b, web.Options{}), "overview")
		w.until("locks", "db")
		for i := range 60 { // at any moment of what the server does by itself meanwhile
			time.Sleep(2*time.Second + time.Duration(i)*130*time.Millisecond)
			text := fmt.Sprintf("state %d", i)
			changed := time.Now()
			b.set(func(b *stage) { b.status.Sentence = text })
			w.until("headline", text)
			if took := time.Since(changed); took > 50*time.Millisecond {
				t.Errorf("change %d was sent after %v", i, took)
			}
		}
		w.cancel()
		synctest.Wait()
	})
}

func TestStream_WhatAChangeLeadsToIsSentSoonAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoGroups()
		w := watch(t, web.New(b, web.Options{}), "overview")
		w.until("locks", "db")
		time.Sleep(3 * time.Second)
		b.set(func(b *stage) { b.status.Sentence = "a slot is taken" })
		w.until("headline", "a slot is taken")
		for _, text := range []string{"its rollout has seen it", "the rollout says so"} {
			time.Sleep(50 * time.Millisecond)
			changed := time.Now()
			b.set(func(b *stage) { b.status.Sentence = text })
			w.until("headline", text)
			if took := time.Since(changed); took > 100*time.Millisecond {
				t.Errorf("%q was sent after %v", text, took)
			}
		}
		w.cancel()
		synctest.Wait()
	})
}

// What came a second before a change takes from its ration; it does not hold what
// the change leads to back for longer than that.
func TestStream_WhatAChangeLeadsToIsSentWithinTheRationOfASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoGroups()
		w := watch(t, web.New(b, web.Options{}), "overview")
		w.until("locks", "db")
		time.Sleep(3 * time.Second)
		for i, at := range []struct{ after, within time.Duration }{
			{0, 0}, {300 * time.Millisecond, 0}, {850 * time.Millisecond, 0}, {50 * time.Millisecond, 100 * time.Millisecond},
		} {
			time.Sleep(at.after)
			text, changed := fmt.Sprintf("change %d", i), time.Now()
			b.set(func(b *stage) { b.status.Sentence = text })
			w.until("headline", text)
			if took := time.Since(changed); took > at.within {
				t.Errorf("%s was sent after %v, want within %v", text, took, at.within)
			}
		}
		w.cancel()
		synctest.Wait()
	})
}

func TestStream_AChangeIsSentSoonWhileOtherGroupsChangeAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoGroups()
		w := watch(t, web.New(b, web.Options{}), "group/web")
		w.until("holds", "Nobody")
		time.Sleep(3 * time.Second)
		others, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			for others.Err() == nil {
				b.set(func(*stage) {}) // the revision moves on
				time.Sleep(7 * time.Millisecond)
			}
		})
		for i := range 20 {
			time.Sleep(time.Second + time.Duration(i)*37*time.Millisecond)
			node, changed := fmt.Sprintf("web-%d", i), time.Now()
			b.set(func(b *stage) { b.status.Groups[0].Holds = []api.Hold{hold(node)} })
			w.until("holds", node)
			if took := time.Since(changed); took > 200*time.Millisecond {
				t.Errorf("change %d was sent after %v", i, took)
			}
		}
		stop()
		wg.Wait()
		w.cancel()
		synctest.Wait()
	})
}

func TestStream_ChangesElsewhereMoveTheRevisionOnNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoGroups()
		w := watch(t, web.New(b, web.Options{}), "group/web")
		w.until("latest", "")
		sent := 0
		go func() {
			for range 600 {
				b.set(func(*stage) {})
				time.Sleep(50 * time.Millisecond)
			}
		}()
		for deadline := time.After(40 * time.Second); deadline != nil; {
			select {
			case ev := <-w.events:
				if ev.kind == "fragment" && ev.id != "slots-strip" {
					sent++
				}
				if ev.id == "revision" && strings.Contains(ev.html, ">600<") {
					deadline = nil
				}
			case <-deadline:
				t.Fatal("the page never comes to the newest revision")
			}
		}
		if sent > 8 {
			t.Errorf("%d fragments were sent in 30 s of changes that the page does not show, want the revision now and then", sent)
		}
		w.cancel()
		synctest.Wait()
	})
}

func TestStream_ABurstOfChangesIsSentAtOnceThenTwiceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoGroups()
		w := watch(t, web.New(b, web.Options{}), "overview")
		w.until("locks", "db")
		time.Sleep(7 * time.Second)
		go func() {
			for i := range 50 { // in 2 s
				b.set(func(b *stage) { b.status.Sentence = fmt.Sprintf("state %d", i+1) })
				time.Sleep(40 * time.Millisecond)
			}
		}()
		var sent []time.Time
		for last := ""; !strings.Contains(last, "state 50"); {
			ev := <-w.events
			if ev.id == "headline" {
				sent, last = append(sent, time.Now()), ev.html
			}
		}
		for i := 3; i < len(sent); i++ { // the first after quiet stands alone
			if gap := sent[i].Sub(sent[i-2]); gap < time.Second {
				t.Errorf("three fragments within %v", gap)
			}
		}
		if n := len(sent); n < 5 || n > 6 {
			t.Errorf("%d fragments of a burst of 2 s, want 6: the page would jump or lag", n)
		}
		w.cancel()
		synctest.Wait()
	})
}

func TestStream_RenderingEndsWithTheLastViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // synctest fails when a goroutine is left
		b := twoGroups()
		h := web.New(b, web.Options{})
		first, second := watch(t, h, "overview"), watch(t, h, "overview")
		first.until("locks", "db")
		second.until("locks", "db")
		first.cancel()
		b.set(func(b *stage) { b.status.Sentence = "still here" })
		second.until("headline", "still here")
		second.cancel()
		synctest.Wait()
	})
}

func TestStream_LostQuorumReachesTheOpenPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoGroups()
		w := watch(t, web.New(b, web.Options{}), "overview")
		w.until("locks", "db")
		b.set(func(b *stage) { b.status.Stale = true })
		w.until("banners", "No quorum")
		w.until("lock-web", "Shut")
		w.cancel()
		synctest.Wait()
	})
}

func TestStream_EndsWithTheViewersToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life, revoke := context.WithCancel(t.Context())
		w := watchAs(t, web.New(twoGroups(), web.Options{}), "overview", auth.Principal{Name: "ann", Role: api.RoleViewer, Life: life})
		w.until("locks", "db")
		revoke()
		select {
		case <-w.ended:
		case <-time.After(time.Second):
			t.Error("the stream goes on without its token")
		}
		w.cancel()
		synctest.Wait()
	})
}
