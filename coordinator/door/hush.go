package door

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// hushFor is how long a stranger's further refusals are only counted after one
	// was logged.
	hushFor = time.Minute
	// maxHushed bounds the strangers that are told apart; the rest count as one.
	maxHushed = 1024
)

// hush keeps strangers from filling the log: of each one refusal is logged at
// once, and how many followed it by the first request of anybody a minute later.
type hush struct {
	due atomic.Int64 // when there may be something to tell, in ns since 1970; 0: nothing is

	mu sync.Mutex
	by map[string]*hushed
}

// hushed is one stranger.
type hushed struct {
	peer  string
	since time.Time // of the refusal that was logged
	more  int       // that were not
}

// stranger is what requests from an address are told apart by: an IPv6 network of
// 64 bits belongs to one owner.
func stranger(peer string) string {
	at, err := netip.ParseAddrPort(peer)
	if err != nil {
		return peer
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}

// refused reports whether a refusal is to be logged.
func (h *hush) refused(peer string, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	who := stranger(peer)
	s := h.by[who]
	if s == nil && len(h.by) >= maxHushed {
		who = "others"
		s = h.by[who]
	}
	if s != nil && now.Sub(s.since) < hushFor {
		s.more++
		return false
	}
	if h.by == nil {
		h.by = map[string]*hushed{}
	}
	h.by[who] = &hushed{peer: who, since: now}
	h.due.CompareAndSwap(0, now.Add(hushFor).UnixNano())
	return true
}

// over are those who were refused more often than was logged, and whose minute is
// over. It is asked at every request.
func (h *hush) over(now time.Time) []hushed {
	if due := h.due.Load(); due == 0 || now.UnixNano() < due {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []hushed
	var next time.Time
	for who, s := range h.by {
		end := s.since.Add(hushFor)
		if now.Before(end) {
			if next.IsZero() || end.Before(next) {
				next = end
			}
			continue
		}
		if s.more > 0 {
			list = append(list, *s)
		}
		delete(h.by, who)
	}
	h.due.Store(0)
	if !next.IsZero() {
		h.due.Store(next.UnixNano())
	}
	slices.SortFunc(list, func(a, b hushed) int { return strings.Compare(a.peer, b.peer) })
	return list
}
