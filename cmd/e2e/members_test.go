package e2e

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// cluster is several coordinators on loopback that embed one store together.
type cluster struct {
	t       *testing.T
	members []*memberProcess // that were started, also those that ended
	planned []*memberProcess // that come next
	named   int              // how many have a name
	args    []string
	binary  string // of lockkeeperd; "": that of these tests
}

// memberProcess is one coordinator of a cluster.
type memberProcess struct {
	*coordinatorProcess
	name string // that it was given; its member has a suffix behind it
	data string
	addr string // HOST:PORT of its API
	peer string // HOST:PORT for the other members

	still atomic.Bool // stopped, so that it would not answer
}

// newCluster starts n coordinators, each with the args, and returns when all
// have a vote. An even n leaves the last without one.
func newCluster(t *testing.T, n int, args ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, args: args}
	c.begin(n)
	return c
}

// calm are settings with which members take each other for gone late, for a test in
// which none may lead by accident: on a busy machine a leader may be silent for the
// second that is the default.
func calm(t *testing.T) []string {
	t.Helper()
	dir := writeFiles(t, t.TempDir(), map[string]string{"calm.yaml": "etcd:\n  heartbeat: 500ms\n  election: 10s\n"})
	return []string{"--config", filepath.Join(dir, "calm.yaml")}
}

func (c *cluster) begin(n int) {
	c.t.Helper()
	first := c.next()
	first.coordinatorProcess = c.run(first)
	first.waitReady()
	c.members = append(c.members, first)
	c.grow(n - 1)
}

// plan names the coordinators that come next, so that clients can be given them
// all: it returns the URLs of those that are there and of n more.
func (c *cluster) plan(n int) string {
	c.t.Helper()
	for range n {
		c.named++
		name := fmt.Sprintf("c%d", c.named)
		c.planned = append(c.planned, &memberProcess{name: name, data: filepath.Join(c.t.TempDir(), name), addr: freePort(c.t), peer: freePort(c.t)})
	}
	var list []string
	for _, m := range append(slices.Clone(c.members), c.planned...) {
		list = append(list, "http://"+m.addr)
	}
	return strings.Join(list, ",")
}

// next is the first that was planned.
func (c *cluster) next() *memberProcess {
	c.t.Helper()
	if len(c.planned) == 0 {
		c.plan(1)
	}
	m := c.planned[0]
	c.planned = c.planned[1:]
	return m
}

// arguments of a member's process.
func (c *cluster) arguments(m *memberProcess, args ...string) []string {
	all := []string{"serve", "--name", m.name, "--data-dir", m.data, "--listen", m.addr, "--peer-listen", m.peer}
	return append(append(all, c.args...), args...)
}

// run starts a member's process and waits for nothing.
func (c *cluster) run(m *memberProcess, args ...string) *coordinatorProcess {
	c.t.Helper()
	return &coordinatorProcess{startProcess(c.t, m.name, cmp.Or(c.binary, program("lockkeeperd")), c.arguments(m, args...)...), "http://" + m.addr}
}

// joining are the arguments of one that joins.
func (c *cluster) joining(token string) []string {
	return []string{"--join", c.any().url, "--join-token-file", token}
}

// grow joins n coordinators at once, and returns when those have a vote that
// are to have one.
func (c *cluster) grow(n int) {
	c.t.Helper()
	var joined []*memberProcess
	for range n {
		m := c.next()
		m.coordinatorProcess = c.run(m, c.joining(c.token("cluster", "token"))...)
		joined = append(joined, m)
	}
	c.members = append(c.members, joined...)
	for _, m := range joined {
		m.waitReady()
	}
	eventually(c.t, "the new ones have a vote", func() bool {
		all, voters := 0, 0
		for _, m := range c.shown() {
			all++
			if m.Role != "learner" {
				voters++
			}
		}
		return voters == (all-1)/2*2+1
	})
}

// token runs a command that makes a join token, and returns a file with it.
func (c *cluster) token(command ...string) string {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "join.token")
	must0(c.t, os.WriteFile(path, []byte(must(c.t, c.any().url, command...)), 0o600))
	return path
}

func (p *process) running() bool {
	select {
	case <-p.ended():
		return false
	default:
		return true
	}
}

// any is a coordinator that has quorum.
func (c *cluster) any() *memberProcess {
	c.t.Helper()
	var found *memberProcess
	eventually(c.t, "a coordinator is ready", func() bool {
		for _, m := range c.members {
			if !m.running() || m.still.Load() {
				continue
			}
			if status, _ := get(m.url + "/readyz"); status == 200 {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// urls are all coordinators, for --server.
func (c *cluster) urls() string {
	var list []string
	for _, m := range c.members {
		list = append(list, m.url)
	}
	return strings.Join(list, ",")
}

// shown is the members as the one that answers sees them.
func (c *cluster) shown() []api.Member {
	c.t.Helper()
	return clusterOf(c.t, c.any().url).Members
}

// of is the process of a member.
func (c *cluster) of(m api.Member) *memberProcess {
	c.t.Helper()
	for _, p := range c.members {
		if strings.HasPrefix(m.Name, p.name+"-") {
			return p
		}
	}
	c.t.Fatalf("member %s is none of the test's", m.Name)
	return nil
}

// shownOf is what the cluster says of a process, with no name when it is no
// member.
func (c *cluster) shownOf(p *memberProcess) api.Member {
	c.t.Helper()
	for _, m := range c.shown() {
		if strings.HasPrefix(m.Name, p.name+"-") {
			return m
		}
	}
	return api.Member{}
}

// leader waits until one leads that runs.
func (c *cluster) leader() *memberProcess {
	c.t.Helper()
	var found *memberProcess
	eventually(c.t, "somebody leads", func() bool {
		for _, m := range c.shown() {
			if m.Role == "leader" && c.of(m).running() {
				found = c.of(m)
				return true
			}
		}
		return false
	})
	return found
}

// followers are those with a vote that run and do not lead.
func (c *cluster) followers() (list []*memberProcess) {
	c.t.Helper()
	c.leader()
	for _, m := range c.shown() {
		if m.Role == "follower" && c.of(m).running() {
			list = append(list, c.of(m))
		}
	}
	return list
}

// twoFollowers of three members, as they are at one moment.
func (c *cluster) twoFollowers() (one, other *memberProcess) {
	c.t.Helper()
	var list []*memberProcess
	eventually(c.t, "two follow", func() bool { list = c.followers(); return len(list) == 2 })
	return list[0], list[1]
}

// waitVoters waits until so many members have a vote.
func (c *cluster) waitVoters(n int) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("%d members have a vote", n), func() bool {
		voters := 0
		for _, m := range c.shown() {
			if m.Role != "learner" {
				voters++
			}
		}
		return voters == n
	})
}

// stop and cont are SIGSTOP and SIGCONT.
func (m *memberProcess) stop() {
	m.still.Store(true)
	must0(m.t, m.send(syscall.SIGSTOP))
}

func (m *memberProcess) cont() {
	must0(m.t, m.send(syscall.SIGCONT))
	m.still.Store(false)
}

// restart starts a member that ended, and waits until it serves.
func (m *memberProcess) restart() {
	m.t.Helper()
	m.start()
	m.waitReady()
}

// exited waits for the end of a process, and returns its exit code.
func (p *process) exited() int {
	p.t.Helper()
	select {
	case <-p.ended():
	case <-time.After(patience):
		p.t.Fatalf("%s still runs after %s", p.name, patience)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.ProcessState.ExitCode()
}

// serveOnce runs a coordinator that is expected to give up, and returns what it
// said and its exit code.
func serveOnce(t *testing.T, env []string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(program("lockkeeperd"), append([]string{"serve"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	kill := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}
