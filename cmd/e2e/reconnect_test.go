package e2e

import (
	"flag"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// reconnecting is how many agents TestReconnect has.
var reconnecting = flag.Int("agents", 30, "how many agents lose their coordinator at once")

// reconnectWithin is generous: an election, one more when two ask for votes at
// once, and the pauses of an agent that was refused meanwhile.
const reconnectWithin = 20 * time.Second

// All agents poll one of three coordinators, the leader, which is killed: how
// long it takes until each has a poll waiting at another. A coordinator counts a
// poll as waiting a quarter of a second after it came.
func TestReconnect_AgentsAreHeardAgainWhenTheirCoordinatorIsKilled(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	must(t, c.any().url, "group", "set", "fleet", "--slots", "1")
	led := c.leader()
	servers := []string{led.url}
	for _, m := range slicesWithout(c.members, led) {
		servers = append(servers, m.url)
	}
	startHerd(t, "herd", herd{Servers: servers, Nodes: names("agent", *reconnecting), Group: "fleet", Witness: string(newWitness(t))})
	n := *reconnecting
	// On a busy machine another may lead by then; and one that was refused in an
	// election asks another from then on.
	eventually(t, "all wait, and most at the leader", func() bool {
		led = c.leader()
		for _, m := range slicesWithout(c.members, led) {
			if 2*waitingAt(m) > n {
				_, _, _ = lockkeeper(t, m.url, "cluster", "move-leader", m.name)
				return false
			}
		}
		return waitingAt(c.members...) == n && 2*waitingAt(led) > n
	})
	survivors := slicesWithout(c.members, led)

	led.kill()
	since := c.stopwatch()
	var median, p99, most time.Duration
	eventually(t, "all wait at the others", func() bool {
		waiting := waitingAt(survivors...)
		took := time.Since(since.began)
		if median == 0 && 2*waiting >= n {
			median = took
		}
		if p99 == 0 && 100*waiting >= 99*n {
			p99 = took
		}
		most = took
		return waiting == n
	})
	t.Logf("%d agents waited at another coordinator after theirs was killed: half after %s, 99 %% after %s, all after %s", n,
		median.Round(time.Millisecond), p99.Round(time.Millisecond), most.Round(time.Millisecond))
	since.within(t, most, reconnectWithin, "the last one waited")
}

// waitingAt is how many requests wait on purpose at the coordinators.
func waitingAt(members ...*memberProcess) (n int) {
	for _, m := range members {
		n += waitingBy(m.url)
	}
	return n
}

// waitingBy is how many a coordinator says that there are.
func waitingBy(url string) int {
	status, text := get(url + "/metrics")
	_, value, found := strings.Cut(text, `lockkeeper_http_in_progress{kind="waiting"} `)
	value, _, _ = strings.Cut(value, "\n")
	waiting, err := strconv.Atoi(value)
	if !found || err != nil || status != http.StatusOK {
		return 0
	}
	return waiting
}
