// Command etcd is an etcd with its defaults, for tests that need one as a
// process of its own: etcd DIR URL, or as one of several members
// etcd DIR URL NAME PEER-URL INITIAL-CLUSTER. "etcd put URL KEY VALUE" writes one
// key of one that runs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/internal/etcdtest"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) == 4 && args[0] == "put" {
		if err := put(args[1], args[2], args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "etcd put:", err)
			return 1
		}
		return 0
	}
	if len(args) != 2 && len(args) != 5 {
		fmt.Fprintln(os.Stderr, "want DIR URL [NAME PEER-URL INITIAL-CLUSTER], or put URL KEY VALUE")
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

func put(url, key, value string) (err error) {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{url}, DialTimeout: 5 * time.Second})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err = c.Put(ctx, key, value)
	return err
}
