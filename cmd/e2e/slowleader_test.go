package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// count is how many writes there were since a moment.
func (p *pulse) count(since time.Time) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.beats {
		if b.After(since) {
			n++
		}
	}
	return n
}

// The disk of the member that leads becomes slow, though not so slow that the
// others take it for gone. Writes go on, if slowly, it says why, and another
// member leads soon, for which nobody waits.
func TestFaults_ALeaderWhoseDiskIsSlowHandsOver(t *testing.T) {
	t.Parallel()
	strace := needTool(t, "strace")
	d := &durable{cluster: newCluster(t, 3)}
	for _, m := range d.members {
		must(t, d.any().url, "group", "set", "pulse-"+m.name, "--slots", "1")
		d.pulses = append(d.pulses, startPulse(t, m))
	}
	led := d.leader()
	slow := startProcess(t, "slow", strace, "-f", "-qq", "-o", "/dev/null", "-p", fmt.Sprint(led.pid()), "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_enter=700000")
	eventually(t, 20*time.Second, "it is traced", func() bool { return traced(t, led.pid()) })
	began := time.Now()
	eventually(t, 60*time.Second, "another leads", func() bool { return d.leader() != led })
	took := time.Since(began)
	for _, p := range d.pulses {
		n := p.count(began)
		t.Logf("%s wrote %d times in the %s in which the slow one led", p.m.name, n, took.Round(time.Second))
		// A write takes two rounds: a slot is taken, and given back.
		if most := 10 * time.Second; time.Duration(n+1)*most < took {
			t.Errorf("%s wrote %d times in %s, want once in %s at least", p.m.name, n, took, most)
		}
	}
	for _, want := range []string{"the disk is slow: each change waits for it while this member leads", led.data, "the disk is slow: another member leads instead"} {
		eventually(t, 10*time.Second, "it says: "+want, func() bool { return strings.Contains(led.output(t), want) })
	}
	if st := statusOf(t, led.url); !strings.Contains(fmt.Sprint(st.Attention), "disk_slow") {
		t.Errorf("attention is %+v", st.Attention)
	}
	for range 3 {
		d.goOn("when another leads", led)
	}
	if !led.running() {
		t.Error("a slow disk ended its member")
	}
	slow.signal(syscall.SIGTERM)
	eventually(t, 60*time.Second, "nothing is said of it any more", func() bool {
		return !strings.Contains(fmt.Sprint(statusOf(t, led.url).Attention), "disk_slow")
	})
}
