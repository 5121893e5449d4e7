package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/agent"
	"github.com/lockkeeper/lockkeeper/agent/host"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// herdVariable holds a herd: with it, this binary is the herd instead of tests.
const herdVariable = "LOCKKEEPER_E2E_HERD"

// herd is a process of many simulated hosts, each with the agent's own code. Its
// hosts note what they do in the witness, as machines do.
type herd struct {
	Servers []string
	Nodes   []string
	Group   string
	Witness string
	Dir     string
	Reboot  time.Duration // how long one takes
	// Fails are the bundles, by node, with which a host is not healthy.
	Fails map[string]string
}

// startHerd starts a herd in a process of its own, the command in front of it.
func startHerd(t *testing.T, name string, h herd, in ...string) *process {
	t.Helper()
	h.Dir = t.TempDir()
	text, err := json.Marshal(h)
	must0(t, err)
	self, err := os.Executable()
	must0(t, err)
	command := append(append(in, "env", herdVariable+"="+string(text)), self)
	return startProcess(t, name, command[0], command[1:]...)
}

// runHerd is the process.
func runHerd(text string) error {
	var h herd
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return err
	}
	var done sync.WaitGroup
	for _, node := range h.Nodes {
		done.Go(func() {
			if err := h.run(node); err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", node, err)
				os.Exit(1)
			}
		})
	}
	done.Wait()
	return nil
}

func (h *herd) run(node string) error {
	sim, err := host.NewSimulated(host.SimConfig{
		Node: node, Dir: filepath.Join(h.Dir, node, "root"), RebootTime: h.Reboot, ApplyTime: 100 * time.Millisecond, Observer: witnessed(h.Witness),
		FailHealth: func(node, digest string) string {
			if h.Fails[node] == digest {
				return "no answer on port 80"
			}
			return ""
		},
	})
	if err != nil {
		return err
	}
	c, err := client.New(client.Config{Servers: h.Servers})
	if err != nil {
		return err
	}
	defer c.Close()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", node)
	ctx := context.Background()
	for {
		err := agent.New(agent.Config{
			Node: node, Group: h.Group, StateDir: filepath.Join(h.Dir, node, "state"), Coordinator: c, Host: sim, Logger: log,
		}).Run(ctx)
		if !errors.Is(err, host.ErrRebooting) {
			return err
		}
		witnessed(h.Witness).note("reboot " + node)
		if err := sim.Boot(ctx); err != nil {
			return err
		}
	}
}

// witnessed is the observer of a herd's hosts.
type witnessed string

func (w witnessed) Down(node string) { w.note("down " + node) }
func (w witnessed) Up(node string)   { w.note("up " + node) }

func (w witnessed) note(line string) {
	f, err := os.OpenFile(string(w), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(line + "\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil { // a host that cannot be seen must not act
		fmt.Fprintln(os.Stderr, "witness:", err)
		os.Exit(1)
	}
}

// out are the hosts that are out of service now.
func (w witness) out(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, line := range w.lines(t) {
		switch what, node, _ := strings.Cut(line, " "); what {
		case "down", "reboot":
			out[node] = true
		case "up":
			delete(out, node)
		}
	}
	return out
}

// begun are the hosts that went out of service at some time.
func (w witness) begun(t *testing.T) map[string]bool {
	t.Helper()
	begun := map[string]bool{}
	for _, line := range w.lines(t) {
		if node, down := strings.CutPrefix(line, "down "); down {
			begun[node] = true
		}
	}
	return begun
}

func names(prefix string, n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("%s-%02d", prefix, i+1))
	}
	return list
}
