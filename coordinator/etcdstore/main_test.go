package etcdstore

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
)

// shared is a real etcd for all tests of this package; each has a prefix.
var shared struct {
	once sync.Once
	node *etcdnode.Node
	err  error
	dir  string
	n    int
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(envPruner); dir != "" {
		if err := runPruner(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if shared.node != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if err := shared.node.Stop(ctx); err != nil {
			fmt.Println("stop etcd:", err)
		}
		cancel()
		os.RemoveAll(shared.dir)
	}
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Println(err)
		code = 1
	}
	os.Exit(code)
}

func client(t testing.TB) (*clientv3.Client, string) {
	t.Helper()
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "etcdstore"); shared.err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		shared.node, shared.err = etcdnode.Start(ctx, etcdnode.Config{DataDir: shared.dir, Name: "test"})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	shared.n++
	return shared.node.Client(), fmt.Sprintf("/test-%d/", shared.n)
}
