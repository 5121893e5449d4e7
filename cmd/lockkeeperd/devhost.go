package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/lockkeeper/lockkeeper/agent"
	"github.com/lockkeeper/lockkeeper/agent/host"
	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// zones are given to the hosts in turn, so that limits by label can be tried.
var zones = []string{"a", "b", "c"}

// runHost runs one simulated host with a real agent on it until ctx ends.
func (f *devFleet) runHost(ctx context.Context, i int) error {
	node, group := f.nodeName(i), f.groupOf(i)
	f.observer.watch(node, group)
	sim, err := host.NewSimulated(host.SimConfig{
		Node: node, Dir: filepath.Join(f.dir, "hosts", node, "root"),
		RebootTime: f.reboot, ApplyTime: f.work, Observer: f.observer,
	})
	if err != nil {
		return err
	}
	c, err := client.New(client.Config{Servers: []string{f.url}, UserAgent: "lockkeeper-agent/" + cli.Version()})
	if err != nil {
		return err
	}
	defer c.Close()
	return agent.RunSimulated(ctx, agent.Config{
		Node: node, Group: group,
		Labels:      map[string]string{"fleet": "dev", "zone": zones[i%len(zones)]},
		StateDir:    filepath.Join(f.dir, "hosts", node, "state"),
		Coordinator: c, Version: cli.Version(), Logger: f.hostLogger(node),
	}, sim)
}

func (f *devFleet) hostLogger(node string) *slog.Logger {
	cfg := coordinator.DefaultConfig().Log
	cfg.Level = f.logLevel
	return coordinator.NewLogger(cfg, os.Stderr).With("node", node)
}
