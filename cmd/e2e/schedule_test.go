package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
	"github.com/lockkeeper/lockkeeper/coordinator/fleetlock"
)

// span is a group in which a clock keeps everybody until it opens.
type span struct {
	group string
	kind  api.Kind
	opens time.Time
	late  time.Duration // after it the opening may be, for all that the test knows
	gap   time.Duration // that lies between the two grants
}

// tells fails the test unless a Retry-After that was computed between two moments
// is the time until the opening, in whole seconds and a little more.
func (s *span) tells(t *testing.T, retryAfter time.Duration, from, to time.Time) {
	t.Helper()
	least, most := s.opens.Sub(to), s.opens.Sub(from)+s.late+2*time.Second
	if least > 0 && (retryAfter < least || retryAfter > most) {
		t.Errorf("%s: Retry-After %s, but it opens in %s to %s", s.group, retryAfter, least, most)
	}
}

// pushedWithin is how long after the opening a grant may come to a request that
// waits. It comes within milliseconds.
const pushedWithin = time.Second

// hostsWait is how long a FleetLock host's request waits.
const hostsWait = 3 * time.Second

// asked is what one refused request was told, and between which moments.
type asked struct {
	from, to   time.Time
	status     int
	kind       api.Kind
	value      string
	retryAfter time.Duration
}

// askFleetLock asks as a host does that speaks the protocol, until it has its
// slot, and returns when it had it and what it was told before.
func askFleetLock(ctx context.Context, url, id, group string) (time.Time, []asked, error) {
	var refusals []asked
	for {
		from := time.Now()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+fleetlock.PreReboot, strings.NewReader(params(id, group)))
		if err != nil {
			return time.Time{}, refusals, err
		}
		req.Header.Set("fleet-lock-protocol", "true")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return time.Time{}, refusals, err
		}
		var body struct {
			Kind  api.Kind
			Value string
		}
		err = json.NewDecoder(resp.Body).Decode(&body)
		resp.Body.Close()
		if err != nil || resp.StatusCode == http.StatusOK {
			return time.Now(), refusals, err
		}
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		refusals = append(refusals, asked{from, time.Now(), resp.StatusCode, body.Kind, body.Value, time.Duration(seconds) * time.Second})
	}
}

func TestSchedule_RefusesBothDoorsAndGrantsBothByPushWhenItOpens(t *testing.T) {
	t.Parallel()
	const lasts, ahead = 30 * time.Second, 20 * time.Second // to make them all, and to ask before they open
	c := startCoordinator(t, "--fleetlock-wait", hostsWait.String())
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	agent, err := client.New(client.Config{Servers: []string{c.url}})
	must0(t, err)
	join := func(node, group string) {
		_, err := agent.Poll(ctx, node, api.PollRequest{Instance: node + "-i", BootID: "b", Report: api.Report{Seq: 1, Group: group, Phase: api.PhaseIdle, Healthy: true}})
		must0(t, err)
	}
	acquire := func(node, group string, wait time.Duration) error {
		_, err := agent.Acquire(ctx, group, node, api.AcquireRequest{Instance: node + "-i", Request: "r", BootID: "b"}, wait)
		return err
	}

	for _, group := range []string{"blackout", "interval", "window"} {
		must(t, c.url, "group", "set", group, "--slots", "3")
		join(group+"-agent", group)
	}
	var spans []span
	// A window opens at a full minute: the next that leaves time to be refused.
	opens := time.Now().Add(ahead).Truncate(time.Minute).Add(time.Minute)
	must(t, c.url, "group", "set", "window", "--window", opens.UTC().Format("15:04")+" 1h UTC")
	spans = append(spans, span{"window", api.Window, opens, 0, 0})
	must(t, c.url, "group", "set", "interval", "--grant-interval", lasts.String())
	join("interval-first", "interval")
	before := time.Now()
	must0(t, acquire("interval-first", "interval", 0))
	spans = append(spans, span{"interval", api.Interval, before.Add(lasts), time.Since(before), lasts})
	ends := time.Now().Add(lasts).Truncate(time.Second)
	must(t, c.url, "group", "blackout", "add", "release", "--group", "blackout", "--end", ends.UTC().Format(time.RFC3339), "--reason", "release 7.2")
	spans = append(spans, span{"blackout", api.Blackout, ends, 0, 0})

	type granted struct {
		span
		agent, core time.Time
		first, both time.Duration // in which the grants may come
		refusals    []asked
		err         error
	}
	results := make(chan granted, len(spans))
	for _, s := range spans {
		from := time.Now()
		err := acquire(s.group+"-agent", s.group, 0)
		to := time.Now()
		var refused *api.Error
		if !errors.As(err, &refused) || refused.Kind != s.kind || refused.Kind.Status() != http.StatusLocked || len(refused.Blockers) == 0 {
			t.Fatalf("%s: the agent was told %v", s.group, err)
		}
		if off := refused.Earliest.Sub(s.opens); off < 0 || off > s.late+time.Second {
			t.Errorf("%s: earliest %s, want %s", s.group, refused.Earliest, s.opens)
		}
		s.tells(t, refused.RetryAfter, from, to)
		opened := make(chan stopwatch, 1)
		time.AfterFunc(time.Until(s.opens), func() { opened <- startStopwatch(c.process) })
		go func() {
			g := granted{span: s}
			agentDone, coreDone := make(chan error, 1), make(chan error, 1)
			go func() {
				err := acquire(s.group+"-agent", s.group, 2*time.Minute)
				g.agent = time.Now()
				agentDone <- err
			}()
			go func() {
				var err error
				g.core, g.refusals, err = askFleetLock(ctx, c.url, s.group+"-core", s.group)
				coreDone <- err
			}()
			since := <-opened
			select {
			case g.err = <-agentDone:
				g.first = since.stretch(pushedWithin)
				g.err = errors.Join(g.err, <-coreDone)
			case g.err = <-coreDone:
				g.first = since.stretch(pushedWithin)
				g.err = errors.Join(g.err, <-agentDone)
			}
			g.both = since.stretch(pushedWithin)
			results <- g
		}()
	}
	for range spans {
		g := <-results
		if g.err != nil {
			t.Fatalf("%s: %v", g.group, g.err)
		}
		first, second := g.agent, g.core
		if second.Before(first) {
			first, second = second, first
		}
		came, behind := first.Sub(g.opens), second.Sub(g.opens.Add(g.gap))
		t.Logf("%s: grants came %s and %s after the opening", g.group, came.Round(time.Millisecond), behind.Round(time.Millisecond))
		if came < 0 || came > g.late+g.first {
			t.Errorf("%s: the first grant came %s after the opening, want within %s", g.group, came, g.first)
		}
		// The second is counted from the first.
		if behind < 0 || behind > g.late+g.first+g.both {
			t.Errorf("%s: the second grant came %s after the opening, want within %s", g.group, behind, g.first+g.both)
		}
		if len(g.refusals) == 0 {
			t.Errorf("%s: the FleetLock host was never refused", g.group)
		}
		for _, r := range g.refusals {
			if r.status != http.StatusLocked || r.kind != g.kind || r.value == "" || r.retryAfter < time.Second || r.retryAfter > 5*time.Minute {
				t.Errorf("%s: FleetLock was told %+v", g.group, r)
			}
			g.tells(t, r.retryAfter, r.from.Add(hostsWait), r.to)
		}
	}
}
