package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// snapshotType is the media type of a snapshot.
const snapshotType = "application/vnd.lockkeeper.snapshot"

// Snapshots lists what the coordinator that answers keeps.
func (c *Client) Snapshots(ctx context.Context) (api.SnapshotList, error) {
	return get[api.SnapshotList](ctx, c, nil, "snapshots")
}

// Snapshot streams a snapshot of the coordinator that answers. The reader fails
// at its end when not all of it arrived. The caller closes it.
func (c *Client) Snapshot(ctx context.Context) (io.ReadCloser, error) {
	resp, cancel, err := c.send(ctx, call{ //nolint:bodyclose // the caller closes it
		method: http.MethodGet, path: []string{"snapshot"}, stream: true,
		header: map[string]string{"Accept": snapshotType + ", application/problem+json"},
	})
	if err != nil {
		return nil, err
	}
	return &whole{resp: resp, cancel: cancel, sum: sha256.New()}, nil
}

// whole compares what was read with the digest that comes behind it.
type whole struct {
	resp   *http.Response
	cancel context.CancelFunc
	sum    hash.Hash
}

func (r *whole) Read(p []byte) (int, error) {
	n, err := r.resp.Body.Read(p)
	_, _ = r.sum.Write(p[:n]) // a hash takes everything
	switch {
	case errors.Is(err, io.EOF):
		got := "sha-256=:" + base64.StdEncoding.EncodeToString(r.sum.Sum(nil)) + ":"
		if want := r.resp.Trailer.Get("Content-Digest"); got != want {
			return n, fmt.Errorf("%w: the snapshot did not arrive as it was sent: digest %s, sent %q", ErrUnreachable, got, want)
		}
	case err != nil:
		err = fmt.Errorf("%w: the snapshot broke off: %w", ErrUnreachable, err)
	}
	return n, err
}

func (r *whole) Close() error {
	defer r.cancel()
	return r.resp.Body.Close()
}

// UnfreezeAccepting lifts the fleet's freeze of that id although so many nodes
// were not heard since a restore.
func (c *Client) UnfreezeAccepting(ctx context.Context, id string, unheard int) error {
	q := values("id", id, "accept_unheard", strconv.Itoa(unheard))
	_, err := c.do(ctx, call{method: http.MethodDelete, path: freezePath(""), query: q})
	return err
}
