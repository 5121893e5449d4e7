package etcdstore

import "context"

// stream follows the keys under a prefix and sends what changes makes of them,
// until ctx or the DB ends. All there is comes between reset and synced, at
// first and whenever the watch begins anew.
func stream[C any](ctx context.Context, d *DB, prefix string, changes func([]kv) []C, reset, synced C) <-chan []C {
	out := make(chan []C)
	send := func(list []C) {
		select {
		case out <- list:
		case <-ctx.Done():
		case <-d.life.Done():
		}
	}
	t := table{
		prefix: prefix,
		reload: func(kvs []kv, _ int64) { send(append(append([]C{reset}, changes(kvs)...), synced)) },
		apply:  func(kvs []kv) { send(changes(kvs)) },
	}
	d.wg.Go(func() {
		defer close(out)
		c, cancel := context.WithCancel(ctx)
		defer context.AfterFunc(d.life, cancel)()
		defer cancel()
		d.follow(c, t)
	})
	return out
}
