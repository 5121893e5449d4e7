package vm

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle/create"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// coordinator is a lockkeeperd outside of the machines. They reach it over TLS
// with a token each, as hosts on a network do, though QEMU's own network lets
// their connections come from loopback.
type coordinator struct {
	*client.Client // over the admin socket
	port, pin      string
	data           string
}

func startCoordinator(t *testing.T) *coordinator {
	t.Helper()
	dir, err := os.MkdirTemp("", "lk") // a socket's path must be short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	addr := freeTCP(t, "127.0.0.1")
	_, port, err := net.SplitHostPort(addr)
	must(t, err)
	log := output(t, "lockkeeperd")
	c := &coordinator{port: port, data: filepath.Join(dir, "data")}
	p, err := start(log, program("lockkeeperd"), "serve", "--data-dir", c.data, "--listen", addr,
		"--tls-self-signed", "--require-token", "--host", "10.0.2.2")
	must(t, err)
	t.Cleanup(p.kill)
	c.Client, err = client.New(client.Config{Servers: []string{c.socket()}})
	must(t, err)
	t.Cleanup(c.Close)
	eventually(t, "the coordinator is ready", func() bool { return c.Readyz(t.Context()) == nil })
	found := regexp.MustCompile(`pin=(sha256:[0-9a-f]{64})`).FindStringSubmatch(read(t, log.Name()))
	if found == nil {
		t.Fatal("the pin is not in the log")
	}
	c.pin = found[1]
	return c
}

// socket is the address that asks for no token.
func (c *coordinator) socket() string { return "unix:" + filepath.Join(c.data, "admin.sock") }

// token makes the token of a node.
func (c *coordinator) token(t *testing.T, node string) string {
	t.Helper()
	made, err := c.CreateToken(t.Context(), api.TokenRequest{Role: api.RoleNode, Node: node})
	must(t, err)
	return made.Secret
}

// roll starts a rollout of a bundle: bundle.yaml and the files below files/.
func (c *coordinator) roll(t *testing.T, to api.RolloutSpec, manifest string, files map[string]string) api.Rollout {
	t.Helper()
	dir := t.TempDir()
	writeFiles(t, dir, files)
	writeFiles(t, dir, map[string]string{"bundle.yaml": manifest})
	var b bytes.Buffer
	_, err := create.Build(dir, &b, bundle.MaxSize)
	must(t, err)
	digest := fmt.Sprintf("%x", sha256.Sum256(b.Bytes()))
	_, _, err = c.CreateBundle(t.Context(), &b, digest)
	must(t, err)
	to.Bundle = digest
	r, _, err := c.CreateRollout(t.Context(), to, "")
	must(t, err)
	return r
}

// rollout is how far one is.
func (c *coordinator) rollout(t *testing.T, id string) api.Rollout {
	t.Helper()
	r, err := c.Rollout(t.Context(), id)
	must(t, err)
	return r
}

// waitState waits until a rollout is in a state, and fails at one that ends it
// otherwise.
func (c *coordinator) waitState(t *testing.T, id string, want api.RolloutState) api.Rollout {
	t.Helper()
	var r api.Rollout
	eventually(t, "the rollout is "+string(want), func() bool {
		r = c.rollout(t, id)
		if r.State != want && r.State != api.RolloutRunning {
			t.Fatalf("the rollout is %s, want %s: %s %+v", r.State, want, r.Why, r.Nodes)
		}
		return r.State == want
	})
	return r
}

// node is what a node has reported last.
func (c *coordinator) node(t *testing.T, id string) api.Node {
	t.Helper()
	n, err := c.Node(t.Context(), id)
	must(t, err)
	return n
}

// holders are the nodes that hold a slot of group default.
func (c *coordinator) holders(t *testing.T) (all []string) {
	t.Helper()
	holds, err := c.Holds(t.Context(), "default")
	must(t, err)
	for _, h := range holds {
		all = append(all, h.Node)
	}
	return all
}
