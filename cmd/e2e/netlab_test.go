package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// netlab is a network of its own: a bridge, and a namespace for each coordinator
// and for hosts that are to be cut off with one. The test and all other hosts
// are at the bridge.
type netlab struct {
	t  *testing.T
	id string // in front of all names
	ip string // in front of all addresses
}

// netlabs is how many there may be on a machine at once.
const netlabs = 250

// far is the namespace of the hosts that are cut off with a coordinator.
const far = "far"

// newNetlab makes the namespaces c1 to c3 and far.
func newNetlab(t *testing.T) *netlab {
	t.Helper()
	needTool(t, "ip")
	needTool(t, "nft")
	if os.Geteuid() != 0 {
		if os.Getenv("LOCKKEEPER_TEST_REQUIRE_ALL") != "" {
			t.Fatal("network namespaces need root")
		}
		t.Skip("network namespaces need root")
	}
	n := claimNetlab(t)
	bridge := n.id + "b"
	var up, down strings.Builder
	fmt.Fprintf(&up, "addr add %s1/24 dev %s\nlink set %[2]s up\n", n.ip, bridge)
	for name, last := range map[string]string{"c1": "11", "c2": "12", "c3": "13", far: "21"} {
		ns, veth := n.id+name, n.id+name
		fmt.Fprintf(&up, "netns add %s\nlink add %s type veth peer name eth0 netns %[1]s\nlink set %[2]s master %[3]s up\n", ns, veth, bridge)
		fmt.Fprintf(&up, "-n %s addr add %s%s/24 dev eth0\n-n %[1]s link set eth0 up\n-n %[1]s link set lo up\n", ns, n.ip, last)
		// A namespace lets go of its links some time after it is gone.
		fmt.Fprintf(&down, "link del %s\nnetns del %s\n", veth, ns)
	}
	fmt.Fprintf(&down, "link del %s\n", bridge) // last: behind it the next lab may have the names
	t.Cleanup(func() {
		for line := range strings.Lines(down.String()) {
			_ = n.batch(line)
		}
	})
	if err := n.batch(up.String()); err != nil {
		t.Fatal(err)
	}
	return n
}

// claimNetlab makes the first bridge that is not there yet. Its name says its
// addresses, so that no two labs of this machine have the same, whichever
// processes they are of: two that had would work on each other's coordinators.
func claimNetlab(t *testing.T) *netlab {
	t.Helper()
	for number := range netlabs {
		n := &netlab{t: t, id: fmt.Sprintf("lk%d", number), ip: fmt.Sprintf("10.213.%d.", number)}
		out, err := exec.Command("ip", "link", "add", n.id+"b", "type", "bridge").CombinedOutput()
		if err == nil {
			return n
		}
		if !strings.Contains(string(out), "File exists") {
			t.Fatalf("making the bridge %sb: %v: %s", n.id, err, out)
		}
	}
	t.Fatalf("there are bridges lk0b to lk%db: tests that were killed left them behind; `ip link del NAME` removes one, `ip netns del NAME` its namespaces", netlabs-1)
	return nil
}

// batch runs commands of ip, one a line.
func (n *netlab) batch(lines string) error {
	for line := range strings.Lines(lines) {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.TrimSpace(line), err, out)
		}
	}
	return nil
}

// in is the command in front of one that is to run in a namespace.
func (n *netlab) in(name string) []string { return []string{"ip", "netns", "exec", n.id + name} }

func (n *netlab) address(name string) string {
	return n.ip + map[string]string{"c1": "11", "c2": "12", "c3": "13", far: "21"}[name]
}

// filter replaces all that a namespace drops.
func (n *netlab) filter(name string, rules ...string) {
	n.t.Helper()
	text := "table inet cut\ndelete table inet cut\ntable inet cut {\n chain in { type filter hook input priority 0; }\n chain out { type filter hook output priority 0; }\n}\n"
	for _, r := range rules {
		text += "add rule inet cut " + r + "\n"
	}
	cmd := exec.Command("ip", "netns", "exec", n.id+name, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("nft in %s: %v: %s\n%s", name, err, out, text)
	}
}

// deaf drops all that others send to a namespace; mute all that it sends them.
func (n *netlab) deaf(others ...string) (rules []string) {
	for _, o := range others {
		rules = append(rules, "in ip saddr "+n.address(o)+" drop")
	}
	return rules
}

func (n *netlab) mute(others ...string) (rules []string) {
	for _, o := range others {
		rules = append(rules, "out ip daddr "+n.address(o)+" drop")
	}
	return rules
}

// cluster starts three coordinators, each in its namespace. Each serves loopback
// there, where no credentials are needed, and a forwarder brings it what comes
// from outside. Before one starts, prepare has it.
func (n *netlab) cluster(prepare ...func(*memberProcess)) *cluster {
	t := n.t
	t.Helper()
	c := &cluster{t: t}
	self, err := os.Executable()
	must0(t, err)
	forward := func(name, listen, to string) {
		startProcess(t, "forward-"+name, n.in(name)[0], append(n.in(name)[1:], "env", forwardVariable+"="+listen+" "+to, self)...)
	}
	for i := range 3 {
		name := fmt.Sprintf("c%d", i+1)
		ip := n.address(name)
		m := &memberProcess{name: name, data: filepath.Join(t.TempDir(), name), addr: ip + ":8080", peer: ip + ":2380"}
		for _, p := range prepare {
			p(m)
		}
		args := append(n.in(name)[1:], program("lockkeeperd"), "serve", "--name", name, "--data-dir", m.data,
			"--listen", "127.0.0.1:8080", "--host", ip, "--peer-listen", m.peer)
		if i > 0 {
			forward(name, "127.0.0.1:8081", n.address("c1")+":8080")
			args = append(args, "--join", "http://127.0.0.1:8081", "--join-token-file", c.token("cluster", "token"))
		}
		m.coordinatorProcess = &coordinatorProcess{startProcess(t, name, "ip", args...), "http://" + m.addr}
		forward(name, ip+":8080", "127.0.0.1:8080")
		m.waitReady()
		c.members = append(c.members, m)
	}
	c.waitVoters(3)
	return c
}

// forwardVariable holds two addresses: with it, this binary listens on one and
// connects to the other.
const forwardVariable = "LOCKKEEPER_E2E_FORWARD"

func runForward(text string) error {
	listen, to, _ := strings.Cut(text, " ")
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	for {
		from, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer from.Close()
			there, err := net.DialTimeout("tcp", to, 5*time.Second)
			if err != nil {
				return
			}
			defer there.Close()
			var both sync.WaitGroup
			pass := func(dst, src net.Conn) {
				_, _ = io.Copy(dst, src)
				_ = dst.(*net.TCPConn).CloseWrite()
			}
			both.Go(func() { pass(there, from) })
			both.Go(func() { pass(from, there) })
			both.Wait()
		}()
	}
}
