package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// fault is one trouble of a schedule.
type fault struct {
	After  time.Duration // the one before
	Kind   string        // one of chaosKinds
	Member int
	Lasts  time.Duration
}

// chaosKinds are what may happen to one coordinator, the likelier more often:
// its process is killed or stands still; it hears nobody, nobody hears it, or
// both; its disk is low or full, takes its time, or fails.
var chaosKinds = []string{"kill", "stop", "stop", "cut", "deaf", "mute", "low", "full", "slow", "broken"}

func (f fault) String() string {
	return fmt.Sprintf("%s: %s c%d for %s", f.After.Round(time.Millisecond), f.Kind, f.Member+1, f.Lasts.Round(time.Millisecond))
}

// schedule is the faults of a seed. They may overlap, so that two of three
// coordinators can be gone at once, or all.
func schedule(rng *rand.Rand) (list []fault) {
	for at := time.Duration(0); at < chaosLasts; {
		f := fault{
			After: time.Duration(rng.Int64N(int64(1600 * time.Millisecond))), Kind: chaosKinds[rng.IntN(len(chaosKinds))], Member: rng.IntN(3),
			Lasts: 50*time.Millisecond + time.Duration(rng.Int64N(int64(2500*time.Millisecond))),
		}
		at += f.After
		list = append(list, f)
	}
	return list
}

// do carries a fault out and undoes it.
func (c *chaos) do(f fault) {
	c.busy[f.Member].Lock()
	defer c.busy[f.Member].Unlock()
	m := c.members[f.Member]
	undo, err := c.begin(f, m)
	if err == nil {
		time.Sleep(f.Lasts)
		err = undo()
	}
	if err != nil {
		c.finds("%s: %v", f, err)
	}
}

// begin begins a fault, and returns how it is undone.
func (c *chaos) begin(f fault, m *memberProcess) (undo func() error, err error) {
	var others []string
	for _, o := range slicesWithout(c.members, m) {
		others = append(others, o.name)
	}
	switch f.Kind {
	case "kill":
		return c.guard.kill(f.Member), nil
	case "stop":
		return func() error { return signalIfThere(m, syscall.SIGCONT) }, signalIfThere(m, syscall.SIGSTOP)
	case "cut":
		c.net.filter(m.name, slices.Concat(c.net.deaf(others...), c.net.mute(others...))...)
	case "deaf":
		c.net.filter(m.name, c.net.deaf(others...)...)
	case "mute":
		c.net.filter(m.name, c.net.mute(others...)...)
	case "low":
		return func() error { return resize(m, smallDisk) }, leaveRoom(m, 400<<20) // between the floors
	case "full":
		c.guard.disk[f.Member].Store(true)
		return func() error { return resize(m, smallDisk) }, leaveRoom(m, 0)
	case "slow":
		return traceSyncs(m, fmt.Sprintf("delay_enter=%d", (100*time.Millisecond+f.Lasts/4).Microseconds()))
	case "broken":
		c.guard.disk[f.Member].Store(true)
		return traceSyncs(m, "error=EIO")
	default:
		return nil, fmt.Errorf("there is no fault %q", f.Kind)
	}
	return func() error { c.net.filter(m.name); return nil }, nil
}

// signalIfThere is for a process that may have ended: whether it should have is
// its guard's to judge.
func signalIfThere(m *memberProcess, s syscall.Signal) error {
	if err := m.send(s); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// smallDisk is the size of a member's disk, far more than its data need.
const smallDisk = 4 << 30

// onSmallDisk gives a member a disk of its own.
func onSmallDisk(t *testing.T) func(*memberProcess) {
	return func(m *memberProcess) {
		must0(t, os.MkdirAll(m.data, 0o700))
		must0(t, syscall.Mount("tmpfs", m.data, "tmpfs", 0, fmt.Sprintf("size=%d", int64(smallDisk))))
		t.Cleanup(func() { must0(t, syscall.Unmount(m.data, syscall.MNT_DETACH)) })
	}
}

func resize(m *memberProcess, size int64) error {
	return syscall.Mount("", m.data, "", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", size))
}

// leaveRoom makes a member's disk so small that this much is free.
func leaveRoom(m *memberProcess, room int64) error {
	for {
		var st syscall.Statfs_t
		if err := syscall.Statfs(m.data, &st); err != nil {
			return err
		}
		err := resize(m, int64(st.Blocks-st.Bfree)*st.Bsize+room)
		if !errors.Is(err, syscall.EINVAL) { // which it is when the member has written meanwhile
			return err
		}
	}
}

// traceSyncs does something to all syncs of a member to its disk, until undone.
func traceSyncs(m *memberProcess, inject string) (undo func() error, err error) {
	cmd := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-p", fmt.Sprint(m.pid()), "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:"+inject)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		// One that lets go of a process that is ending can wait for it for ever.
		stuck := time.AfterFunc(2*time.Second, func() { _ = cmd.Process.Kill() })
		defer stuck.Stop()
		_ = cmd.Wait() // it also ends with the member
		return nil
	}, cmd.Start()
}

// guard starts coordinators again that ended by a fault of their disk, as a
// supervisor does, and finds those that ended for another reason.
type guard struct {
	c     *cluster
	kills []chan (<-chan struct{}) // of each member: kill it, and start it when that is closed
	disk  []atomic.Bool            // of each member: its disk failed at some time

	mu    sync.Mutex
	wrong []string
}

// newGuard watches all members until the test ends.
func newGuard(c *cluster) *guard {
	g := &guard{c: c, disk: make([]atomic.Bool, len(c.members))}
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i, m := range c.members {
		kills := make(chan (<-chan struct{}))
		g.kills = append(g.kills, kills)
		all.Go(func() { g.watch(m, kills, &g.disk[i], stop) })
	}
	c.t.Cleanup(func() { close(stop); all.Wait() })
	return g
}

// kill kills a member, and returns what starts it again. The guard does both, so
// that nobody else starts it meanwhile.
func (g *guard) kill(member int) (start func() error) {
	up := make(chan struct{})
	g.kills[member] <- up
	return func() error { close(up); return nil }
}

func (g *guard) watch(m *memberProcess, kills <-chan (<-chan struct{}), disk *atomic.Bool, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case up := <-kills:
			m.kill()
			<-up
			m.start()
			continue
		case <-m.ended():
		}
		if code := m.exited(); !disk.Load() || code < 1 || code > diskFailed {
			g.mu.Lock()
			g.wrong = append(g.wrong, fmt.Sprintf("%s ended by itself with %d", m.name, code))
			g.mu.Unlock()
		}
		m.start()
	}
}

// diskFailed is how a coordinator ends whose disk fails while it runs. While it
// starts it ends with 2 then, or with 1 when the disk fills up.
const diskFailed = 3

// check fails the test when a coordinator ended that should not have.
func (g *guard) check(seed uint64) {
	g.c.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.wrong {
		g.c.t.Errorf("in seed %d: %s", seed, w)
	}
}
