package etcdstore_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// holders counts who is out, by what the hosts themselves were told.
type holders struct {
	t        *testing.T
	spec     semaphore.Spec
	members  int
	mu       sync.Mutex
	out      int
	zones    map[string]int
	most     int
	releases int
}

// goes notes that a host was told that it may go.
func (h *holders) goes(node, zone string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.out++
	h.zones[zone]++
	h.most = max(h.most, h.out)
	if slots := h.spec.Slots.Of(h.members); h.out > slots {
		h.t.Errorf("with %s %d hosts are out, of %d slots", node, h.out, slots)
	}
	for _, l := range h.spec.Limits {
		if h.zones[zone] > l.Max.N {
			h.t.Errorf("with %s %d hosts of zone %s are out, of at most %d", node, h.zones[zone], zone, l.Max.N)
		}
	}
}

func (h *holders) returns(zone string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.out--
	h.zones[zone]--
	h.releases++
}

// enough hosts came back, and two were out at once.
func (h *holders) enough() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.releases >= 40 && h.most >= 2
}

// 64 hosts ask two coordinators' processes, one of which is killed meanwhile.
// Neither the hosts together nor any revision of etcd sees more out than may be.
func TestHolders_CountedFromOutsideAreNeverMoreThanAllowed(t *testing.T) {
	const hosts, zones = 64, 8
	for name, spec := range map[string]semaphore.Spec{
		"slots": {Slots: semaphore.Slots{N: 3}},
		"a percentage, a limit by zone, and members that go down": {
			Slots: semaphore.Slots{N: 8, Percent: true}, CountUnreachable: true,
			Limits: []semaphore.Limit{{By: "zone", Max: semaphore.Slots{N: 1}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 2)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			insist := func(op any) {
				t.Helper()
				until(t, fmt.Sprintf("%+v", op), func() bool {
					_, reply, err := l.ask(ctx, rand.IntN(2), "/p/", "g", op, 0)
					return err == nil && reply.Answer.Kind == semaphore.OK
				})
			}
			insist(semaphore.PutSpec{Spec: spec, IfMatch: -1})
			zone := func(n int) string { return fmt.Sprintf("z%d", n%zones) }
			for n := range hosts {
				insist(semaphore.PutMember{Node: fmt.Sprintf("n%d", n), Registered: map[string]string{"zone": zone(n)}})
			}
			h := &holders{t: t, spec: spec, members: hosts, zones: map[string]int{}}
			working, stop := context.WithCancel(ctx)
			defer stop()
			var clients sync.WaitGroup
			for n := range hosts {
				clients.Go(func() { l.host(working, h, n, zone(n)) })
			}
			if spec.CountUnreachable {
				clients.Go(func() { l.engine(working, hosts) })
			}
			think(time.Second)
			l.stores[0].kill()
			think(500 * time.Millisecond)
			l.stores[0].again()
			until(t, "hosts in numbers went out and came back", h.enough)
			stop()
			clients.Wait()
			grants := l.judge(t, spec)
			t.Logf("%d returns, at most %d out at a time, %d grants in the history", h.releases, h.most, grants)
			if grants < h.releases {
				t.Error("more hosts came back than were granted a slot")
			}
		})
	}
}

// host takes slots and returns them, and hangs up now and then.
func (l *lab) host(ctx context.Context, h *holders, n int, zone string) {
	op := agent(fmt.Sprintf("n%d", n))
	if n%2 == 0 {
		op = fleetLock(op.Node, "")
	}
	for ctx.Err() == nil {
		op.Request = unique("r")
		patience := time.Second
		if rand.IntN(10) == 0 {
			patience = rand.N(10 * time.Millisecond)
		}
		call, hangUp := context.WithTimeout(ctx, patience)
		sent, reply, err := l.ask(call, rand.IntN(2), "/p/", "g", op, rand.N(300*time.Millisecond))
		hangUp()
		if !sent {
			think(20 * time.Millisecond)
		}
		if err != nil || reply.Answer.Kind != semaphore.OK {
			continue
		}
		h.goes(op.Node, zone)
		think(5 * time.Millisecond)
		h.returns(zone)
		for tries := 0; tries < 20; tries++ {
			call, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			_, _, err := l.ask(call, rand.IntN(2), "/p/", "g", release(reply.Answer.Hold), 0)
			cancel()
			if err == nil {
				break
			}
			think(20 * time.Millisecond)
		}
	}
}

// engine sets members down and up again, as the elected engine does.
func (l *lab) engine(ctx context.Context, hosts int) {
	var down []string
	for ctx.Err() == nil {
		think(20 * time.Millisecond)
		node, goes := fmt.Sprintf("n%d", rand.IntN(hosts)), true
		if len(down) > 3 || len(down) > 0 && rand.IntN(2) == 0 {
			node, goes = down[0], false
			down = down[1:]
		} else {
			down = append(down, node)
		}
		call, cancel := context.WithTimeout(ctx, time.Second)
		_, _, _ = l.ask(call, rand.IntN(2), "/p/", "g", semaphore.SetDown{Node: node, Down: goes}, 0)
		cancel()
	}
}

// outside is a group as a reader of etcd's history sees it.
type outside struct {
	holds   map[string]semaphore.Hold
	members map[string]semaphore.Member
}

// out counts holders and members that are down, each once; in a zone, or in all.
func (o outside) out(zone string, all bool, down func(node string) bool) int {
	n := 0
	for node, m := range o.members {
		if _, holds := o.holds[node]; (holds || down(node)) && (all || m.Labels()["zone"] == zone) {
			n++
		}
	}
	return n
}

// judge goes through every revision of the history and returns the number of
// grants. One revision can hold several decisions, so that a member counts as
// down if it was so before and after.
func (l *lab) judge(t *testing.T, spec semaphore.Spec) int {
	t.Helper()
	client, err := dialEtcd(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	end, err := client.Put(ctx, "/p/groups/g/~end", "")
	if err != nil {
		t.Fatal(err)
	}
	now := outside{map[string]semaphore.Hold{}, map[string]semaphore.Member{}}
	grants := 0
	for resp := range client.Watch(ctx, "/p/groups/g/", clientv3.WithPrefix(), clientv3.WithRev(1)) {
		if err := resp.Err(); err != nil {
			t.Fatal(err)
		}
		for events := resp.Events; len(events) > 0; {
			rev := events[0].Kv.ModRevision
			if rev == end.Header.Revision {
				return grants
			}
			n := slices.IndexFunc(events, func(e *clientv3.Event) bool { return e.Kv.ModRevision != rev })
			if n < 0 {
				n = len(events)
			}
			was := now
			now = was.after(t, events[:n])
			events = events[n:]
			down := func(node string) bool {
				return spec.CountUnreachable && was.members[node].Down && now.members[node].Down
			}
			for node := range now.holds {
				if _, held := was.holds[node]; held {
					continue
				}
				grants++
				if n, slots := now.out("", true, down), spec.Slots.Of(len(now.members)); n > slots {
					t.Errorf("revision %d grants %s: %d are out, of %d slots", rev, node, n, slots)
				}
				for _, limit := range spec.Limits {
					zone := now.members[node].Labels()["zone"]
					if n := now.out(zone, false, down); n > limit.Max.N {
						t.Errorf("revision %d grants %s: %d of zone %s are out, of at most %d", rev, node, n, zone, limit.Max.N)
					}
				}
			}
		}
	}
	t.Fatal("the watch ended")
	return 0
}

// after is the group after one revision.
func (o outside) after(t *testing.T, events []*clientv3.Event) outside {
	o.holds, o.members = maps.Clone(o.holds), maps.Clone(o.members)
	for _, e := range events {
		key, err := strings.TrimPrefix(string(e.Kv.Key), "/p/groups/g/"), error(nil)
		if node, hold := strings.CutPrefix(key, "holds/"); hold && e.Type == clientv3.EventTypeDelete {
			delete(o.holds, node)
		} else if hold {
			o.holds[node], err = semaphore.DecodeHold(e.Kv.Value)
		}
		if node, member := strings.CutPrefix(key, "members/"); member && e.Type == clientv3.EventTypePut {
			o.members[node], err = semaphore.DecodeMember(e.Kv.Value)
		}
		if err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	return o
}
