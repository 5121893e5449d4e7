package door

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// isFleetLock reports whether a request is for one of that protocol's paths.
func isFleetLock(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/v1/")
}

// writeFleetLock refuses in the words of the FleetLock protocol.
func writeFleetLock(w http.ResponseWriter, err error, status int) {
	p := api.ProblemOf(err, "")
	if status == 0 {
		status = p.Status
	}
	body, _ := json.Marshal(map[string]string{"kind": string(p.Kind), "value": p.Detail})
	w.Header().Set("Content-Type", "application/json")
	if after := api.RetrySeconds(err); after != "" {
		w.Header().Set("Retry-After", after)
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// FleetLockNetwork lets the hosts of a network into groups.
type FleetLockNetwork struct {
	Prefix netip.Prefix
	Groups []string
}

// FleetLockConfig says who may use the listener for FleetLock hosts.
type FleetLockConfig struct {
	Networks []FleetLockNetwork
	// KnownIDsOnly refuses a slot to an id that is no member of its group.
	KnownIDsOnly bool
	// View is the group as last seen: its members and its slots.
	View func(group string) (semaphore.State, bool)
	Now  func() time.Time // nil: time.Now
}

// unknownPer is the time for which unknown ids are counted: one network may
// bring unknownSlots times as many of them as its group has slots.
const (
	unknownPer   = time.Hour
	unknownSlots = 2
)

// FleetLockGate admits requests of hosts that cannot send credentials.
type FleetLockGate struct {
	cfg FleetLockConfig

	mu      sync.Mutex
	unknown map[string]map[string]time.Time // network and group → id → first seen
}

// NewFleetLockGate checks the configuration.
func NewFleetLockGate(cfg FleetLockConfig) (*FleetLockGate, error) {
	if len(cfg.Networks) == 0 {
		return nil, errors.New("a FleetLock listener needs the networks that may use it, with their groups")
	}
	for _, n := range cfg.Networks {
		if !n.Prefix.IsValid() || len(n.Groups) == 0 {
			return nil, fmt.Errorf("FleetLock network %s: want a network such as 10.1.0.0/16 and at least one group", n.Prefix)
		}
		for _, g := range n.Groups {
			if err := semaphore.ValidGroup(g); err != nil {
				return nil, fmt.Errorf("FleetLock network %s: %w", n.Prefix, err)
			}
		}
	}
	if cfg.View == nil {
		return nil, errors.New("a FleetLock listener needs to see the groups")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &FleetLockGate{cfg: cfg, unknown: map[string]map[string]time.Time{}}, nil
}

// Admit says whether a host may ask for a slot of the group under that id, or
// return it. A nil *api.Error means that it may.
func (g *FleetLockGate) Admit(r *http.Request, group, id string, acquire bool) *api.Error {
	network, ok := g.network(r, group)
	switch {
	case !ok && network != "":
		return api.Errorf(api.Forbidden, "this address may not use the group %q: the FleetLock listener's network %s, to which it belongs, does not name that group", group, network)
	case !ok:
		return api.Errorf(api.Forbidden, "this address may not use the group %q: it belongs to none of the FleetLock listener's networks", group)
	}
	if !acquire {
		return nil // to return what is not held changes nothing
	}
	state, known := g.cfg.View(group)
	if _, member := state.Member(id); known && member {
		return nil
	}
	if g.cfg.KnownIDsOnly {
		return api.Errorf(api.Forbidden, "the id %q is not known in the group %q, and this listener takes known ids only", id, group)
	}
	return g.bound(network+" "+group, id, unknownSlots*state.SlotCount())
}

// network is the one that the request comes from and that may use the group;
// when none may, with false, one that the request comes from.
func (g *FleetLockGate) network(r *http.Request, group string) (string, bool) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "", false
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "", false
	}
	ip = ip.Unmap().WithZone("")
	home := ""
	for _, n := range g.cfg.Networks {
		if !n.Prefix.Contains(ip) {
			continue
		}
		if home == "" {
			home = n.Prefix.String()
		}
		for _, name := range n.Groups {
			if name == group {
				return n.Prefix.String(), true
			}
		}
	}
	return home, false
}

// bound counts an unknown id once an hour.
func (g *FleetLockGate) bound(key, id string, most int) *api.Error {
	now := g.cfg.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	seen := g.unknown[key]
	if seen == nil {
		seen = map[string]time.Time{}
		g.unknown[key] = seen
	}
	oldest := now
	for other, at := range seen {
		if now.Sub(at) >= unknownPer {
			delete(seen, other)
			continue
		}
		if at.Before(oldest) {
			oldest = at
		}
	}
	if _, again := seen[id]; again {
		return nil
	}
	if len(seen) >= most {
		e := api.Errorf(api.Rate, "this network has brought %d unknown ids within an hour, and the group allows %d: make the host a member first, or wait", len(seen), most)
		e.RetryAfter = oldest.Add(unknownPer).Sub(now)
		return e
	}
	seen[id] = now
	return nil
}
