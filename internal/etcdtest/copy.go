package etcdtest

import (
	"context"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Copy puts all that is below one prefix below another too, as it is now: what a
// backup of it would hold. Leases are not kept.
func Copy(ctx context.Context, c *clientv3.Client, from, to string) error {
	all, err := c.Get(ctx, from, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	for _, k := range all.Kvs {
		if _, err := c.Put(ctx, to+strings.TrimPrefix(string(k.Key), from), string(k.Value)); err != nil {
			return err
		}
	}
	return nil
}
