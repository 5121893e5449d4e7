package vm

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// pingEvery is how often each machine is asked for its boot id.
const pingEvery = 200 * time.Millisecond

// silence is how long a machine may leave pings unanswered and still count as
// up: emulated, on a machine with other work, it stands still at times.
const silence = 4 * time.Second

// pinger sees a fleet from outside, and knows nothing of slots: when each
// machine answered, and in which boot.
type pinger struct {
	fleet []*machine
	mu    sync.Mutex
	seen  map[string][]answer // of each node, in order of time
}

type answer struct {
	at    time.Time
	boot  string
	clock time.Time // the machine's own
}

// outage is a span in which a machine was down: from its end to its first answer
// in another boot. One that leaves pings unanswered and goes on in the same boot
// only stood still.
type outage struct {
	node     string
	from, to time.Time
}

func (o outage) String() string {
	return fmt.Sprintf("%s from %s to %s", o.node, o.from.Format("15:04:05.0"), o.to.Format("15:04:05.0"))
}

// startPinger asks the machines until the test ends.
func startPinger(t *testing.T, fleet []*machine) *pinger {
	t.Helper()
	p := &pinger{fleet: fleet, seen: map[string][]answer{}}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, m := range fleet {
		conn, err := net.Dial("udp4", m.ping)
		must(t, err)
		all.Go(func() { ask(ctx, conn) })
		all.Go(func() { p.listen(ctx, m.node, conn) })
	}
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	return p
}

func ask(ctx context.Context, conn net.Conn) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	defer conn.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_, _ = conn.Write([]byte("ping")) // refused while QEMU is not there
		}
	}
}

func (p *pinger) listen(ctx context.Context, node string, conn net.Conn) {
	buf := make([]byte, 256)
	for {
		n, err := conn.Read(buf)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			continue // nobody is there
		}
		var boot string
		var clock int64
		if _, err := fmt.Sscanf(string(buf[:n]), "ping %s %d", &boot, &clock); err != nil {
			continue
		}
		p.mu.Lock()
		p.seen[node] = append(p.seen[node], answer{time.Now(), boot, time.Unix(clock, 0)})
		p.mu.Unlock()
	}
}

// last is the last answer of a machine; up is false when there is none, or it
// is too old for a machine that is up.
func (p *pinger) last(node string) (a answer, up bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.seen[node]
	if len(all) == 0 {
		return a, false
	}
	a = all[len(all)-1]
	return a, time.Since(a.at) <= silence
}

// answered reports an answer of a machine after a time.
func (p *pinger) answered(node string, after time.Time) bool {
	a, _ := p.last(node)
	return a.at.After(after)
}

// boots counts the boots that a machine answered in since a time.
func (p *pinger) boots(node string, since time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := map[string]bool{}
	for _, a := range p.seen[node] {
		if a.at.After(since) {
			ids[a.boot] = true
		}
	}
	return len(ids)
}

// outages lists when a machine was down since a time, also if it still is.
func (p *pinger) outages(since time.Time) (all []outage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.fleet {
		for _, end := range m.ends() {
			if end.After(since) {
				all = append(all, outage{m.node, end, p.back(m.node, end)})
			}
		}
	}
	slices.SortFunc(all, func(a, b outage) int { return cmp.Or(a.from.Compare(b.from), cmp.Compare(a.node, b.node)) })
	return all
}

// back is when a machine answered in another boot than before its end, or now.
func (p *pinger) back(node string, end time.Time) time.Time {
	before := ""
	for _, a := range p.seen[node] {
		if !a.at.After(end) {
			before = a.boot
		} else if a.boot != before { // else it was on its way
			return a.at
		}
	}
	return time.Now()
}

// neverTwoDown fails the test where two machines were down at once, and returns
// the outages.
func (p *pinger) neverTwoDown(t *testing.T, since time.Time) []outage {
	t.Helper()
	all := p.outages(since)
	for i, is := range all {
		for _, was := range all[:i] {
			if is.node != was.node && is.from.Before(was.to) {
				t.Errorf("two machines were down at once: %s; %s", was, is)
			}
		}
	}
	return all
}
