package etcdstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Bounds of the bundles kept in the store, in bytes.
const (
	MaxBundle  = 1 << 20
	MaxBundles = 512 << 20
)

func (d *DB) metaKey(digest string) string { return d.blobs + "meta/" + digest }

// BundleKey is the key that is there as long as a bundle is: whoever comes to need
// the bundle compares it.
func (d *DB) BundleKey(digest string) string { return d.metaKey(digest) }

// catalogKey is put by whatever makes a rollout come to need a bundle.
func (d *DB) catalogKey() string { return d.prefix + "rollout-catalog" }

func (d *DB) bodyKey(digest string) string { return d.blobs + "body/" + digest }

// stored is what a bundle takes at most, in bytes: of one that lies elsewhere
// only the manifest is kept.
func stored(b *api.Bundle) int64 {
	if b.URL != "" {
		return MaxBundle
	}
	return b.Size
}

// PutBundle stores a bundle: description, body and event in one transaction. The
// body is the file, or the manifest of one that lies elsewhere. It reports false,
// and the description in place, when that digest is there.
func (d *DB) PutBundle(ctx context.Context, b api.Bundle, body []byte) (api.Bundle, bool, error) {
	if err := d.cfg.Floor(); err != nil {
		return api.Bundle{}, false, err
	}
	list, err := d.Bundles(ctx)
	if err != nil {
		return api.Bundle{}, false, err
	}
	total := stored(&b)
	for _, old := range list {
		if old.Digest == b.Digest {
			return old, false, nil
		}
		total += stored(&old)
	}
	if total > MaxBundles {
		return api.Bundle{}, false, fmt.Errorf("%w: %d bytes, at most %d", ErrFull, total, MaxBundles)
	}
	value, err := json.Marshal(b)
	if err != nil {
		return api.Bundle{}, false, err
	}
	key := d.metaKey(b.Digest)
	done, err := d.withEvent(ctx, bundleEvent("bundle.created", b.By, nil, &b), []clientv3.Cmp{absent(key)},
		[]clientv3.Op{clientv3.OpPut(key, string(value)), clientv3.OpPut(d.bodyKey(b.Digest), string(body))})
	if err != nil {
		return api.Bundle{}, false, err
	}
	if done {
		return b, true, nil
	}
	old, err := d.Bundle(ctx, b.Digest) // somebody else's, of this moment
	return old, false, err
}

// Bundles lists the bundles, newest first.
func (d *DB) Bundles(ctx context.Context) ([]api.Bundle, error) {
	resp, err := d.get(ctx, d.blobs+"meta/", clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	list := make([]api.Bundle, 0, len(resp.Kvs))
	for _, k := range resp.Kvs {
		b, err := decodeBundle(k.Value)
		if err != nil {
			d.cfg.Logger.Error("unreadable value", "key", string(k.Key), "error", err)
			continue
		}
		list = append(list, b)
	}
	slices.SortStableFunc(list, func(a, b api.Bundle) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return list, nil
}

// Bundle is one bundle's description. ErrNotFound when there is none.
func (d *DB) Bundle(ctx context.Context, digest string) (api.Bundle, error) {
	resp, err := d.get(ctx, d.metaKey(digest))
	if err != nil {
		return api.Bundle{}, err
	}
	if len(resp.Kvs) == 0 {
		return api.Bundle{}, ErrNotFound
	}
	return decodeBundle(resp.Kvs[0].Value)
}

// BundleBody is one bundle's file, or the manifest of one that lies elsewhere. ErrNotFound when there is none.
func (d *DB) BundleBody(ctx context.Context, digest string) ([]byte, error) {
	resp, err := d.get(ctx, d.bodyKey(digest))
	if err != nil {
		return nil, err
	}
	if len(resp.Kvs) == 0 {
		return nil, ErrNotFound
	}
	return resp.Kvs[0].Value, nil
}

// ChangeBundle changes a bundle's description, by an actor, and returns what it
// is then. It calls change, again after others have changed it too, until it can
// be stored; an error of change comes back as it is. ErrNotFound when there is none.
func (d *DB) ChangeBundle(ctx context.Context, digest, actor string, change func(*api.Bundle) error) (api.Bundle, error) {
	key := d.metaKey(digest)
	for {
		resp, err := d.get(ctx, key)
		if err != nil {
			return api.Bundle{}, err
		}
		if len(resp.Kvs) == 0 {
			return api.Bundle{}, ErrNotFound
		}
		b, err := decodeBundle(resp.Kvs[0].Value)
		if err != nil {
			return b, err
		}
		old := b
		if err := change(&b); err != nil {
			return b, err
		}
		value, err := json.Marshal(b)
		if err != nil {
			return b, err
		}
		if string(value) == string(resp.Kvs[0].Value) {
			return b, nil
		}
		if err := d.cfg.Floor(); err != nil {
			return b, err
		}
		same := clientv3.Compare(clientv3.ModRevision(key), "=", resp.Kvs[0].ModRevision)
		done, err := d.withEvent(ctx, bundleEvent("bundle.changed", actor, &old, &b), []clientv3.Cmp{same}, []clientv3.Op{clientv3.OpPut(key, string(value))})
		if err != nil || done {
			return b, err
		}
	}
}

// DeleteBundle deletes a bundle, by an actor, when nothing needs it as of a
// revision of the rollouts' catalog. ErrNotFound when there is none,
// ErrChanged when a rollout came meanwhile that may need it.
func (d *DB) DeleteBundle(ctx context.Context, digest, actor string, catalog int64) error {
	b, err := d.Bundle(ctx, digest)
	if err != nil {
		return err
	}
	key := d.metaKey(digest)
	present := clientv3.Compare(clientv3.CreateRevision(key), ">", 0)
	done, err := d.withEvent(ctx, bundleEvent("bundle.deleted", actor, &b, nil), []clientv3.Cmp{present, at(d.catalogKey(), catalog)},
		[]clientv3.Op{clientv3.OpDelete(key), clientv3.OpDelete(d.bodyKey(digest))})
	if err != nil || done {
		return err
	}
	if _, err := d.Bundle(ctx, digest); err != nil {
		return err
	}
	return ErrChanged
}

func decodeBundle(value []byte) (api.Bundle, error) {
	var b api.Bundle
	if err := json.Unmarshal(value, &b); err != nil {
		return b, fmt.Errorf("a bundle's description: %w", err)
	}
	return b, nil
}
