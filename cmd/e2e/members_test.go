package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// cluster is several coordinators on loopback that embed one store together.
type cluster struct {
	t       *testing.T
	members []*memberProcess // also those that ended
	started int
	args    []string
}

// memberProcess is one coordinator of a cluster.
type memberProcess struct {
	*coordinatorProcess
	name string // that it was given; its member has a suffix behind it
	data string
	peer string // HOST:PORT
}

// newCluster starts n coordinators, each with the args, and returns when all
// have a vote. An even n leaves the last without one.
func newCluster(t *testing.T, n int, args ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, args: args}
	first := c.member()
	first.coordinatorProcess = c.run(first)
	first.waitReady()
	c.members = append(c.members, first)
	c.grow(n - 1)
	return c
}

func (c *cluster) member() *memberProcess {
	c.t.Helper()
	c.started++
	name := fmt.Sprintf("c%d", c.started)
	return &memberProcess{name: name, data: filepath.Join(c.t.TempDir(), name), peer: freePort(c.t)}
}

// run starts a member's process and waits for nothing.
func (c *cluster) run(m *memberProcess, args ...string) *coordinatorProcess {
	c.t.Helper()
	addr := freePort(c.t)
	all := append([]string{
		"serve", "--name", m.name, "--data-dir", m.data, "--listen", addr, "--peer-listen", m.peer,
	}, append(c.args, args...)...)
	return &coordinatorProcess{startProcess(c.t, m.name, program("lockkeeperd"), all...), "http://" + addr}
}

// grow joins n coordinators at once, and returns when those have a vote that
// are to have one.
func (c *cluster) grow(n int) {
	c.t.Helper()
	var joined []*memberProcess
	for range n {
		m := c.member()
		token := c.token("cluster", "token")
		m.coordinatorProcess = c.run(m, "--join", c.any().url, "--join-token-file", token)
		joined = append(joined, m)
	}
	for _, m := range joined {
		m.waitReady()
	}
	c.members = append(c.members, joined...)
	c.waitVoters((c.up()-1)/2*2 + 1)
}

// token runs a command that makes a join token, and returns a file with it.
func (c *cluster) token(command ...string) string {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "join.token")
	must0(c.t, os.WriteFile(path, []byte(must(c.t, c.any().url, command...)), 0o600))
	return path
}

// up is how many run.
func (c *cluster) up() (n int) {
	for _, m := range c.members {
		if m.running() {
			n++
		}
	}
	return n
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
	eventually(c.t, 30*time.Second, "a coordinator is ready", func() bool {
		for _, m := range c.members {
			if status, _ := get(m.url + "/readyz"); m.running() && status == 200 {
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

// member is what the cluster says of a process.
func (c *cluster) shownOf(p *memberProcess) api.Member {
	c.t.Helper()
	for _, m := range c.shown() {
		if strings.HasPrefix(m.Name, p.name+"-") {
			return m
		}
	}
	c.t.Fatalf("%s is no member", p.name)
	return api.Member{}
}

// leader waits until one leads that runs.
func (c *cluster) leader() *memberProcess {
	c.t.Helper()
	var found *memberProcess
	eventually(c.t, 30*time.Second, "somebody leads", func() bool {
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

func (c *cluster) voters() (n int) {
	c.t.Helper()
	for _, m := range c.shown() {
		if m.Role != "learner" {
			n++
		}
	}
	return n
}

func (c *cluster) waitVoters(n int) {
	c.t.Helper()
	eventually(c.t, 60*time.Second, fmt.Sprintf("%d members have a vote", n), func() bool { return c.voters() == n })
}

// stop and cont are SIGSTOP and SIGCONT.
func (m *memberProcess) stop() { must0(m.t, syscall.Kill(m.pid(), syscall.SIGSTOP)) }
func (m *memberProcess) cont() { must0(m.t, syscall.Kill(m.pid(), syscall.SIGCONT)) }

// restart starts a member that ended, and waits until it serves.
func (m *memberProcess) restart() {
	m.t.Helper()
	m.start()
	m.waitReady()
}

// exited waits for the end of a process, and returns its exit code.
func (p *process) exited(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended():
	case <-time.After(within):
		p.t.Fatalf("%s still runs after %s", p.name, within)
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
