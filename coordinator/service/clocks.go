package service

import (
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
)

// peersClockOff lists the other coordinators whose clock is off, as seen from
// here: they grant nothing where a clock decides. What this one finds of its own
// clock is clockOff's.
func peersClockOff(peers []etcdstore.Peer) []api.Attention {
	var list []api.Attention
	for i, p := range peers {
		if p.Self || !p.ClockOffKnown {
			continue
		}
		var others []time.Duration
		for j, o := range peers {
			if j != i && (o.Self || o.ClockOffKnown) {
				others = append(others, o.ClockOff) // of this one itself: none
			}
		}
		if len(others) == 0 {
			continue
		}
		off := etcdstore.ClockAhead(p.ClockOff, others)
		if off.Abs() <= etcdstore.MaxClockOff {
			continue
		}
		how, those := "ahead of", "this one's"
		if off < 0 {
			how = "behind"
		}
		if len(others) > 1 {
			those = fmt.Sprintf("the median of the %d others'", len(others))
		}
		list = append(list, api.Attention{
			Kind: attentionClock, Severity: bad, Title: fmt.Sprintf("The clock of coordinator %s is off", p.Name),
			Detail: fmt.Sprintf("It is %s %s %s. That coordinator grants nothing in groups with windows, blackouts or a grant interval. Set its clock.", roundly(off.Abs()), how, those),
		})
	}
	return list
}
