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
	const handed = "the disk is slow: another member leads instead"
	var led *memberProcess
	var slow *process
	handsOver := func() bool {
		led = d.leader()
		slow = startProcess(t, "slow", strace, "-f", "-qq", "-o", "/dev/null", "-p", fmt.Sprint(led.pid()), "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_enter=700000")
		eventually(t, "it is traced", func() bool { return traced(t, led.pid()) })
		watch := d.stopwatch()
		eventually(t, "another leads", func() bool { return d.leader() != led })
		took := time.Since(watch.began)
		for saidBy := time.Now().Add(5 * time.Second); !strings.Contains(led.output(t), handed); {
			if time.Now().After(saidBy) {
				t.Logf("%s was taken for gone after %s", led.name, took.Round(time.Second))
				slow.signal(syscall.SIGTERM)
				return false
			}
			time.Sleep(50 * time.Millisecond)
		}
		for _, p := range d.pulses {
			n := p.count(watch.began)
			t.Logf("%s wrote %d times in the %s in which the slow one led", p.m.name, n, took.Round(time.Second))
			// A write takes two rounds: a slot is taken, and given back.
			watch.within(t, took, time.Duration(n+1)*10*time.Second, fmt.Sprintf("%s wrote %d times", p.m.name, n))
		}
		return true
	}
	// Where the machine is so busy that the others take the slow one for gone, it
	// has nothing to hand over: then whoever leads now is the slow one.
	eventually(t, "one hands over", handsOver)
	for _, want := range []string{"the disk is slow: each change waits for it while this member leads", led.data} {
		eventually(t, "it says: "+want, func() bool { return strings.Contains(led.output(t), want) })
	}
	eventually(t, "it asks for attention", func() bool { return strings.Contains(fmt.Sprint(statusOf(t, led.url).Attention), "disk_slow") })
	for range 3 {
		d.goOn("when another leads", led)
	}
	if !led.running() {
		t.Error("a slow disk ended its member")
	}
	slow.signal(syscall.SIGTERM)
	eventually(t, "nothing is said of it any more", func() bool {
		return !strings.Contains(fmt.Sprint(statusOf(t, led.url).Attention), "disk_slow")
	})
}
