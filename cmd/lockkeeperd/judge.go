package main

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// observer counts the hosts that are really out of service. It stands outside
// the semaphore: the simulated hosts tell it when they go down and come up.
type observer struct {
	mu    sync.Mutex
	group map[string]string // node → group
	down  map[string]time.Time
	out   map[string]int // group → hosts out now
	most  map[string]int // group → largest number out at once
	spans []time.Duration
}

func newObserver() *observer {
	return &observer{group: map[string]string{}, down: map[string]time.Time{}, out: map[string]int{}, most: map[string]int{}}
}

// watch makes the observer know a host.
func (o *observer) watch(node, group string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.group[node] = group
}

// Down is called when a host goes out of service.
func (o *observer) Down(node string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, already := o.down[node]; already {
		return
	}
	g := o.group[node]
	o.down[node] = time.Now()
	o.out[g]++
	o.most[g] = max(o.most[g], o.out[g])
}

// Up is called when a host is back in service.
func (o *observer) Up(node string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	since, was := o.down[node]
	if !was {
		return
	}
	delete(o.down, node)
	o.out[o.group[node]]--
	o.spans = append(o.spans, time.Since(since))
}

// largest is the largest number of hosts of the group that were out at once.
func (o *observer) largest(group string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.most[group]
}

// meanOut is the mean time for which a host was out.
func (o *observer) meanOut() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.spans) == 0 {
		return 0
	}
	var sum time.Duration
	for _, s := range o.spans {
		sum += s
	}
	return sum / time.Duration(len(o.spans))
}

// judgeEvents counts holds from the audit trail alone, and returns what it
// finds wrong: a grant that made holds exceed the slots of that moment, a
// count that the event itself got wrong, a fence that did not grow.
func judgeEvents(events []api.Event) []string {
	type group struct {
		held  map[string]bool
		fence int64
	}
	groups := map[string]*group{}
	var wrong []string
	for _, e := range events {
		if e.Group == "" {
			continue
		}
		g := groups[e.Group]
		if g == nil {
			g = &group{held: map[string]bool{}}
			groups[e.Group] = g
		}
		switch e.Kind {
		case "hold.granted":
			g.held[e.Node] = true
			if len(g.held) > e.Slots {
				wrong = append(wrong, fmt.Sprintf("%s: granting %s made %d holds of %d slots", e.Group, e.Node, len(g.held), e.Slots))
			}
			if e.Fence <= g.fence {
				wrong = append(wrong, fmt.Sprintf("%s: fence %d of %s came after %d", e.Group, e.Fence, e.Node, g.fence))
			}
			g.fence = e.Fence
		case "hold.refenced":
			g.fence = max(g.fence, e.Fence)
		case "hold.released", "hold.freed", "hold.expired":
			delete(g.held, e.Node)
		}
	}
	return wrong
}

// ideal is how long a group takes when every slot is always busy: its hosts
// in rounds of slots, each round as long as one host is out.
func ideal(nodes, slots int, each time.Duration) time.Duration {
	if slots < 1 {
		return 0
	}
	return time.Duration((nodes+slots-1)/slots) * each
}

// joinGroups writes "web 2, db 1" in the order of the names.
func joinGroups(m map[string]int) string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%s %d", name, m[name])
	}
	return strings.Join(parts, ", ")
}
