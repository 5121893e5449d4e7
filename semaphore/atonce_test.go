package semaphore_test

import (
	"fmt"
	"testing"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

func TestAtOnce_IsBoundBySlotsAndByLimits(t *testing.T) {
	for name, c := range map[string]struct {
		slots               semaphore.Slots
		limits              []semaphore.Limit
		nodes               int
		both, bySlots, byLs int
	}{
		"the slots":              {semaphore.Slots{N: 2}, nil, 9, 2, 2, 9},
		"a share of the members": {semaphore.Slots{N: 50, Percent: true}, nil, 9, 4, 4, 9},
		"one for each zone":      {semaphore.Slots{N: 9}, []semaphore.Limit{{By: "zone", Max: semaphore.Slots{N: 1}}}, 9, 3, 9, 3},
		"fewer nodes than slots": {semaphore.Slots{N: 5}, nil, 3, 3, 5, 3},
		"nodes of one zone":      {semaphore.Slots{N: 5}, []semaphore.Limit{{By: "zone", Max: semaphore.Slots{N: 2}}}, 1, 1, 5, 1},
		"none":                   {semaphore.Slots{}, nil, 9, 0, 0, 9},
		"two limits":             {semaphore.Slots{N: 9}, []semaphore.Limit{{By: "zone", Max: semaphore.Slots{N: 2}}, {By: "rack", Max: semaphore.Slots{N: 1}}}, 9, 2, 9, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := semaphore.State{Group: "g", HeadRev: 1, Spec: semaphore.Spec{Slots: c.slots, Limits: c.limits}, Members: map[string]semaphore.Member{}, Holds: map[string]semaphore.Hold{}}
			var nodes []string
			for i := range 9 {
				id := fmt.Sprintf("n%d", i)
				s.Members[id] = semaphore.Member{Node: id, Registered: map[string]string{"zone": fmt.Sprint(i % 3), "rack": fmt.Sprint(i % 2)}}
				if i < c.nodes {
					nodes = append(nodes, id)
				}
			}
			// Who holds now makes no difference.
			s.Holds["n0"] = semaphore.Hold{Node: "n0", Labels: map[string]string{"zone": "0", "rack": "0"}}
			for form := range 2 {
				if form == 1 {
					s.Keep(now)
				}
				if both, slots, limits := semaphore.AtOnce(&s, nodes); both != c.both || slots != c.bySlots || limits != c.byLs {
					t.Errorf("form %d: %d at once, %d by slots, %d by limits; want %d, %d, %d", form, both, slots, limits, c.both, c.bySlots, c.byLs)
				}
			}
			if s.Held() != 1 {
				t.Error("it took the holds from the state")
			}
		})
	}
}
