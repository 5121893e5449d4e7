package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// BundleType is the media type of a bundle.
const BundleType = "application/vnd.lockkeeper.bundle+tar"

// maxBundle is more than a coordinator takes, in bytes; it answers too_large.
const maxBundle = 2 << 20

// CreateBundle uploads a bundle; created is false when it was there already.
// The digest, in hexadecimal, is checked on both sides; "" is worked out here.
func (c *Client) CreateBundle(ctx context.Context, body io.Reader, digest string) (bundle api.Bundle, created bool, err error) {
	raw, err := io.ReadAll(io.LimitReader(body, maxBundle+1))
	if err != nil {
		return bundle, false, fmt.Errorf("reading the bundle: %w", err)
	}
	if len(raw) > maxBundle {
		return bundle, false, api.Errorf(api.TooLarge, "the bundle has more than %d bytes: at most 1 MiB is stored", maxBundle)
	}
	sum := sha256.Sum256(raw)
	if got := hex.EncodeToString(sum[:]); digest != "" && digest != got {
		return bundle, false, api.Errorf(api.Invalid, "the bundle's digest is %s and not %s", got, digest)
	}
	status, err := c.do(ctx, call{
		method: http.MethodPost, path: []string{"bundles"}, raw: raw, mime: BundleType, out: &bundle,
		header: map[string]string{"Content-Digest": "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"},
		wait:   answerWithin,
	})
	return bundle, status == http.StatusCreated, err
}

// Bundles lists the bundles, newest first.
func (c *Client) Bundles(ctx context.Context) ([]api.Bundle, error) {
	list, err := get[api.BundleList](ctx, c, nil, "bundles")
	return list.Bundles, err
}

// Bundle is what is known of one bundle.
func (c *Client) Bundle(ctx context.Context, digest string) (api.Bundle, error) {
	return get[api.Bundle](ctx, c, nil, "bundles", digest)
}

// OpenBundle reads a bundle's bytes and says how many there are, -1 when the
// coordinator did not say. The reader fails at its end when they do not have
// that digest. The caller closes it.
func (c *Client) OpenBundle(ctx context.Context, digest string) (io.ReadCloser, int64, error) {
	resp, cancel, err := c.send(ctx, call{ //nolint:bodyclose // the caller closes it
		method: http.MethodGet, path: []string{"bundles", digest, "content"},
		header: map[string]string{"Accept": BundleType + ", application/problem+json"}, wait: answerWithin,
	})
	if err != nil {
		return nil, 0, err
	}
	return &checked{body: resp.Body, cancel: cancel, sum: sha256.New(), want: digest}, resp.ContentLength, nil
}

// LinkBundle makes a bundle known that lies at a URL, or says where it lies now;
// created is false when it was known already.
func (c *Client) LinkBundle(ctx context.Context, digest string, link api.BundleLink) (bundle api.Bundle, created bool, err error) {
	status, err := c.do(ctx, call{method: http.MethodPut, path: []string{"bundles", digest}, in: link, out: &bundle})
	return bundle, status == http.StatusCreated, err
}

// SignBundle adds a signature of a bundle's digest; one more by the same key
// changes nothing.
func (c *Client) SignBundle(ctx context.Context, digest string, req api.BundleSignature) (api.Bundle, error) {
	var b api.Bundle
	_, err := c.do(ctx, call{method: http.MethodPost, path: []string{"bundles", digest, "signatures"}, in: req, out: &b})
	return b, err
}

// DeleteBundle deletes a bundle that no rollout or node needs.
func (c *Client) DeleteBundle(ctx context.Context, digest string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: []string{"bundles", digest}})
	return err
}

// checked compares what was read with the digest that was asked for.
type checked struct {
	body   io.ReadCloser
	cancel context.CancelFunc
	sum    interface {
		io.Writer
		Sum([]byte) []byte
	}
	want string
}

func (r *checked) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	_, _ = r.sum.Write(p[:n]) // a hash takes everything
	if err == io.EOF {
		if got := hex.EncodeToString(r.sum.Sum(nil)); got != r.want {
			return n, fmt.Errorf("%w: the bundle arrived with digest %s and not %s", ErrUnreachable, got, r.want)
		}
	}
	return n, err
}

func (r *checked) Close() error {
	defer r.cancel()
	return r.body.Close()
}
