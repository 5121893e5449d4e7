package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lockkeeper/lockkeeper/agent"
	"github.com/lockkeeper/lockkeeper/agent/host"
	daemon "github.com/lockkeeper/lockkeeper/coordinator"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
	"github.com/lockkeeper/lockkeeper/internal/freeport"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"lockkeeper": main})
}

// TestScripts runs each script of testdata against a coordinator of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               startCoordinator,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": code, "node": node, "hold": hold, "agents": agents, "told": told, "drifts": drifts, "completes": completes,
		},
	})
}

type (
	clientKey struct{}
	hookKey   struct{}
)

func startCoordinator(env *testscript.Env) error {
	peers, err := freeport.Address()
	if err != nil {
		return err
	}
	bodies := make(chan string, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		bodies <- string(text)
	}))
	env.Defer(hook.Close)
	env.Values[hookKey{}] = bodies
	c, err := daemon.New(daemon.Config{
		DataDir: filepath.Join(env.WorkDir, ".data"), Listen: "127.0.0.1:0", Name: "alone", Peer: daemon.PeerConfig{Listen: peers},
		Webhooks: []daemon.WebhookConfig{{Name: "ops", URL: hook.URL + "/T0SECRET"}},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	env.Defer(cancel)
	if err := c.Start(ctx); err != nil {
		return err
	}
	env.Defer(func() { _ = c.Stop() })
	asNode, err := client.New(client.Config{Servers: []string{c.URL()}})
	if err != nil {
		return err
	}
	env.Values[clientKey{}] = asNode
	env.Setenv("LOCKKEEPER_SERVER", c.URL())
	env.Setenv("TZ", "UTC")
	env.Setenv("GORACE", "atexit_sleep_ms=0") // else each command would end with a second of sleep
	return nil
}

// code runs the program and checks its exit code: code 4 hold release web1.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N ARGUMENT...")
	}
	err := ts.Exec("lockkeeper", args[1:]...)
	got := "0"
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = fmt.Sprint(exit.ExitCode())
	} else if err != nil {
		ts.Fatalf("lockkeeper: %v", err)
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// node reports nodes of a group once: node web zone=a web1 web2.
func node(ts *testscript.TestScript, _ bool, args []string) {
	group, labels := args[0], map[string]string{}
	for _, arg := range args[1:] {
		if key, value, ok := strings.Cut(arg, "="); ok {
			labels[key] = value
			continue
		}
		_, err := ts.Value(clientKey{}).(*client.Client).Poll(context.Background(), arg, api.PollRequest{
			Instance: arg + "-instance", BootID: arg + "-boot",
			Report: api.Report{Seq: 1, Group: group, Labels: labels, Phase: api.PhaseIdle, Healthy: true},
		})
		ts.Check(err)
	}
}

// hold takes and confirms the slot of a node: hold web web1.
func hold(ts *testscript.TestScript, _ bool, args []string) {
	c, ctx := ts.Value(clientKey{}).(*client.Client), context.Background()
	got, err := c.Acquire(ctx, args[0], args[1], api.AcquireRequest{
		Instance: args[1] + "-instance", BootID: args[1] + "-boot", Request: "r1", Reason: "kernel",
	}, 0)
	ts.Check(err)
	_, err = c.Confirm(ctx, args[0], args[1], api.ConfirmRequest{
		Fence: got.Hold.Fence, Instance: args[1] + "-instance", BootID: args[1] + "-boot",
	})
	ts.Check(err)
}

// told waits until the webhook ops is told something: told PATTERN.
func told(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: told PATTERN")
	}
	select {
	case body := <-ts.Value(hookKey{}).(chan string):
		if !regexp.MustCompile(args[0]).MatchString(body) {
			ts.Fatalf("told %s, want %s", body, args[0])
		}
	case <-time.After(time.Minute):
		ts.Fatalf("nobody was told")
	}
}

// drifts waits until a node is shown as drifted: drifts web1.
func drifts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: drifts NODE")
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		list, err := ts.Value(clientKey{}).(*client.Client).Nodes(context.Background(), api.NodeQuery{Drifted: true})
		ts.Check(err)
		if slices.ContainsFunc(list.Nodes, func(n api.Node) bool { return n.ID == args[0] }) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s has not drifted: %+v", args[0], list.Nodes)
		}
	}
}

// completes presses the tab key until it offers something: completes PATTERN
// ARGUMENT.... What the coordinator has not answered in time is not offered.
func completes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: completes PATTERN ARGUMENT...")
	}
	pattern := regexp.MustCompile("(?m)" + args[0])
	for deadline := time.Now().Add(time.Minute); ; {
		ts.Check(ts.Exec("lockkeeper", append([]string{"__complete"}, args[1:]...)...))
		offered := ts.ReadFile("stdout")
		if pattern.MatchString(offered) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no match for %s in what is offered: %q", args[0], offered)
		}
	}
}

// agents runs simulated hosts until the script ends, and goes on when all have
// reported: agents web web1 web2.
func agents(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	ts.Defer(func() { cancel(); running.Wait() })
	for _, name := range args[1:] {
		dir := ts.MkAbs(filepath.Join(".hosts", name))
		sim, err := host.NewSimulated(host.SimConfig{Node: name, Dir: filepath.Join(dir, "root")})
		ts.Check(err)
		running.Go(func() {
			_ = agent.RunSimulated(ctx, agent.Config{
				Node: name, Group: args[0], StateDir: filepath.Join(dir, "state"),
				Coordinator: ts.Value(clientKey{}).(*client.Client), Retry: 50 * time.Millisecond,
			}, sim)
		})
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		list, err := ts.Value(clientKey{}).(*client.Client).Nodes(ctx, api.NodeQuery{Group: args[0]})
		ts.Check(err)
		if list.Total >= len(args)-1 {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("of %v only %+v have reported", args[1:], list.Nodes)
		}
	}
}
