package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/freeport"
)

// machine is a computer of its own: QEMU without hardware acceleration, which
// needs no privilege, with an ext4 disk that outlives it. A reboot ends QEMU,
// and the machine starts it again on the same disk, as firmware does.
type machine struct {
	t    *testing.T
	node string
	disk string
	ping string // address at which the guest answers pings
	args []string
	log  *os.File
	busy sync.WaitGroup // supervise

	mu      sync.Mutex
	power   bool // off: an end is not followed by a start
	reboots int  // that were followed by a start
	ended   []time.Time
	qemu    *process
}

// newMachine makes a machine with that disk; extra are arguments for QEMU.
func newMachine(t *testing.T, k kernel, initrd, disk, node string, extra ...string) *machine {
	t.Helper()
	m := &machine{t: t, node: node, disk: disk, ping: freePort(t), log: output(t, node)}
	m.args = append([]string{
		"qemu-system-x86_64", "-machine", "microvm,acpi=on,pcie=off,rtc=on,pit=on,pic=on", "-cpu", "max",
		"-accel", "tcg,thread=multi", "-m", "160", "-smp", "1",
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", k.vmlinux, "-initrd", initrd,
		// The clocks are given: an emulated processor on a busy machine calibrates none.
		"-append", "console=ttyS0 quiet reboot=t panic=-1 lpj=4000000 no_timer_check tsc_early_khz=2000000",
		"-netdev", "user,id=n0,hostfwd=udp:" + m.ping + "-10.0.2.15:7", "-device", "virtio-net-device,netdev=n0",
		// What the guest has written reaches the file at once, and a kill of QEMU
		// loses what only the guest's memory has.
		"-drive", "if=none,id=d0,format=raw,cache=writethrough,file=" + disk, "-device", "virtio-blk-device,drive=d0",
	}, extra...)
	t.Cleanup(m.powerOff)
	return m
}

// give gives an option of QEMU another value.
func (m *machine) give(t *testing.T, option, value string) {
	t.Helper()
	at := slices.Index(m.args, option)
	if at < 0 {
		t.Fatalf("%s is not among the options of QEMU", option)
	}
	m.args[at+1] = value
}

// forward hands on what connects to an address of this host to one of the guest,
// in QEMU's own words.
func (m *machine) forward(t *testing.T, rules ...string) {
	t.Helper()
	at := slices.Index(m.args, "-netdev")
	m.give(t, "-netdev", m.args[at+1]+",hostfwd="+strings.Join(rules, ",hostfwd="))
}

// powerOn starts the machine, and starts it again after each reboot.
func (m *machine) powerOn() {
	m.mu.Lock()
	defer m.mu.Unlock()
	q, err := start(m.log, m.args...)
	if err != nil {
		m.t.Fatalf("starting %s: %v", m.node, err)
	}
	m.power, m.qemu = true, q
	m.busy.Go(m.supervise)
}

func (m *machine) supervise() {
	for {
		m.mu.Lock()
		q := m.qemu
		m.mu.Unlock()
		<-q.done
		m.mu.Lock()
		m.ended = append(m.ended, time.Now())
		if !m.power {
			m.mu.Unlock()
			return
		}
		m.reboots++
		q, err := start(m.log, m.args...)
		if err != nil {
			m.t.Errorf("starting %s again: %v", m.node, err)
			m.power = false
		} else {
			m.qemu = q
		}
		m.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// stayDown: the next end of QEMU, by a reboot, is the last until powerOn.
func (m *machine) stayDown() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.power = false
}

// powerOff cuts the power: what was not on the disk is lost.
func (m *machine) powerOff() {
	m.stayDown()
	m.mu.Lock()
	q := m.qemu
	m.mu.Unlock()
	if q != nil {
		q.kill()
	}
	m.busy.Wait()
}

// isOff reports that QEMU has ended and nothing will start it again.
func (m *machine) isOff() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.qemu.done:
		return !m.power
	default:
		return false
	}
}

// ends are when the machine went down.
func (m *machine) ends() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.ended)
}

func (m *machine) rebooted() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reboots
}

// console is all that the machine has printed.
func (m *machine) console(t *testing.T) string { return read(t, m.log.Name()) }

// waitFor waits until the console shows text more often than n times.
func (m *machine) waitFor(t *testing.T, text string, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("the console of %s shows %q", m.node, text), func() bool {
		return strings.Count(m.console(t), text) > n
	})
}

// freePort is a UDP port of loopback that nobody has.
func freePort(t *testing.T) string {
	t.Helper()
	addr, err := freeport.UDP("127.0.0.1")
	must(t, err)
	return addr
}

// freeTCP is a port of an address that nobody listens on.
func freeTCP(t *testing.T, host string) string {
	t.Helper()
	addr, err := freeport.TCP(host)
	must(t, err)
	return addr
}

// makeInitrd writes the initramfs for all machines of a test.
func makeInitrd(t *testing.T, k kernel) string {
	t.Helper()
	b, err := initrd(k, program("guest"))
	must(t, err)
	file := filepath.Join(t.TempDir(), "initrd")
	must(t, os.WriteFile(file, b, 0o600))
	return file
}
