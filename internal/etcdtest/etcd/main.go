// Command etcd is an etcd with its defaults, for tests that need one as a
// process of its own: etcd DIR URL, or as one of several members
// etcd DIR URL NAME PEER-URL INITIAL-CLUSTER.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/lockkeeper/lockkeeper/internal/etcdtest"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) != 2 && len(args) != 5 {
		fmt.Fprintln(os.Stderr, "want DIR URL [NAME PEER-URL INITIAL-CLUSTER]")
		return 2
	}
	cfg := etcdtest.Config{Dir: args[0], Listen: args[1]}
	if len(args) == 5 {
		cfg.Name, cfg.Peer, cfg.Cluster = args[2], args[3], args[4]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := etcdtest.Start(cfg)
	if err == nil {
		err = s.Wait(ctx)
		s.Stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		return 1
	}
	return 0
}
