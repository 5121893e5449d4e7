package etcdnode

import (
	"context"
	"strconv"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"google.golang.org/grpc/metadata"
)

// inProcess is a client of a server in this process.
func inProcess(s *etcdserver.EtcdServer) *clientv3.Client {
	c := v3client.New(s)
	c.Watcher = &watcher{Watcher: c.Watcher}
	return c
}

// watcher gives each watch a stream of its own. On one that they share, as the
// client does where the metadata are the same, nothing lies between the two sides
// in one process: when some twenty watches begin or end at once, each side waits
// for the other to take what it sends, for ever, and with them every watch there.
type watcher struct {
	clientv3.Watcher
	last atomic.Uint64
}

func (w *watcher) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	ctx = metadata.AppendToOutgoingContext(ctx, "lockkeeper-watch", strconv.FormatUint(w.last.Add(1), 10))
	return w.Watcher.Watch(ctx, key, opts...)
}
