package etcdnode

import (
	"context"
	"io"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Etcd is a coordinator's store: a member inside this process (Node), or one
// that others run (External). Its methods may be called at any time, from any
// goroutine, also after Stop.
type Etcd interface {
	// Client talks to it. Those who use it must have ended before Stop.
	Client() *clientv3.Client
	// HasLeader reports whether it can commit now. Without a leader every write
	// fails, and refusing at once is kinder than a timeout.
	HasLeader() bool
	// LeaderChanged returns a channel that is closed when that, or the leader,
	// next changes.
	LeaderChanged() <-chan struct{}
	// Fatal delivers one error when it ended for good, as far as this process
	// is concerned. The process should say so and exit.
	Fatal() <-chan error
	// TxnOps is how many operations one transaction may have.
	TxnOps() int
	// Low reports whether space is below the floor for grants and all that
	// begins something, and below the lower one for every write.
	Low() (grants, writes bool)
	// Revision is the highest that is known, 0 for none. It costs next to
	// nothing.
	Revision() int64
	// Info is the store in figures, Members are those who keep it.
	Info() api.StoreInfo
	Members() []api.Member
	// DiskFree is the number of bytes free for the data, 0 when unknown.
	DiskFree() int64
	// Snapshot streams the data followed by their SHA-256. The caller closes it.
	Snapshot(ctx context.Context) (io.ReadCloser, error)
	// Stop lets go of it, within 5 s. Stopping twice is fine.
	Stop(ctx context.Context) error
}

var (
	_ Etcd = (*Node)(nil)
	_ Etcd = (*External)(nil)
)
