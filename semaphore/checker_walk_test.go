package semaphore_test

import (
	"math/rand/v2"
	"time"
)

// A walk ends after so many steps at the latest.
const longestWalk = 400

// walk goes one random way after the other, each to its end: what a search in
// breadth does not reach in time. Its steps are not counted as states.
func walk(s scenario, budget time.Duration) (walks int, violation string, trace []string) {
	m, start := newModel(s)
	random := rand.New(rand.NewPCG(1, 2))
	for deadline := time.Now().Add(budget); time.Now().Before(deadline); walks++ {
		w := start
		visits := []visit{{parent: -1}}
		for n := int32(0); n < longestWalk; n++ {
			steps := m.steps(&w)
			if len(steps) == 0 {
				break
			}
			choice := random.IntN(len(steps))
			violation = steps[choice].violation
			w = steps[choice].world
			if violation == "" {
				violation = m.brokenWorld(&w)
			}
			visits = append(visits, visit{n, int32(choice)})
			if violation != "" {
				return walks + 1, violation, m.replay(start, visits, n+1)
			}
		}
	}
	return walks, "", nil
}
