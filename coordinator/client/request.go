package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// maxAnswer bounds what is read of one answer, in bytes.
const maxAnswer = 128 << 20

// call is one request to whichever coordinator answers.
type call struct {
	method string
	path   []string // segments below /api/v1, not yet escaped
	root   bool     // path is not below /api/v1
	query  url.Values
	header map[string]string
	in     any    // body as JSON
	raw    []byte // body as it is, with its type
	mime   string
	out    any           // where the answer's JSON goes
	wait   time.Duration // that the coordinator was asked to wait at most
	once   bool          // must not be sent again when it may have arrived
	stream bool          // the body may take any time
}

// do sends the call to the coordinators in turn until one answers, beginning
// with the one that answered last. It returns the status of a 2xx.
func (c *Client) do(ctx context.Context, k call) (int, error) {
	resp, cancel, err := c.send(ctx, k)
	if err != nil {
		return 0, err
	}
	defer cancel()
	defer resp.Body.Close()
	if k.out == nil || resp.StatusCode == http.StatusNoContent {
		return resp.StatusCode, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, fmt.Errorf("%w: the answer broke off: %w", ErrUnreachable, err)
	}
	if err := json.Unmarshal(body, k.out); err != nil {
		return 0, fmt.Errorf("%w: the answer is not the JSON of a coordinator: %w", ErrUnreachable, err)
	}
	return resp.StatusCode, nil
}

// send is do without reading the body. The caller closes it, then cancels.
func (c *Client) send(ctx context.Context, k call) (*http.Response, context.CancelFunc, error) {
	target, err := k.target()
	if err != nil {
		return nil, nil, err
	}
	body, mime := k.raw, k.mime
	if k.in != nil {
		if body, err = json.Marshal(k.in); err != nil {
			return nil, nil, api.Errorf(api.Invalid, "the request cannot be written as JSON: %v", err)
		}
		mime = "application/json"
	}
	start := time.Now()
	first := c.good.Load()
	var failed error
	for i := range c.servers {
		n := (first + int64(i)) % int64(len(c.servers))
		next := (n + 1) % int64(len(c.servers))
		asked := time.Now()
		resp, cancel, err := c.try(ctx, &c.servers[n], k, share(ctx, k, i == len(c.servers)-1), target, body, mime)
		if err == nil {
			c.good.Store(n)
			return resp, cancel, nil
		}
		if ctx.Err() != nil {
			if time.Since(asked) >= k.wait+silentFor {
				c.good.CompareAndSwap(n, next)
			}
			return nil, nil, fmt.Errorf("%s %s: %w", k.method, c.servers[n].name, context.Cause(ctx))
		}
		var refused *api.Error
		if errors.As(err, &refused) && refused.Kind != api.NoQuorum && refused.Kind != api.DiskLow && refused.Kind != api.NewerSchema {
			c.good.Store(n)
			return nil, nil, err
		}
		// A coordinator without quorum may be cut off from those that have it, others
		// may have room on their disks, or have been updated. Its answer says more than that
		// another could not be reached.
		if failed == nil || refused != nil {
			failed = err
		}
		c.good.Store(next)
		if k.once && !notSent(err) || time.Since(start) > answerWithin {
			break
		}
	}
	return nil, nil, failed
}

// share is how long one coordinator may take. Where the caller has less time
// than that, half of what is left stays for the next one: one that hangs must not
// take the time in which another would have answered.
func share(ctx context.Context, k call, last bool) time.Duration {
	limit := answerWithin + k.wait
	if until, bound := ctx.Deadline(); bound && !last && !k.once && !k.stream && k.wait == 0 {
		limit = min(limit, max(time.Until(until)/2, time.Millisecond))
	}
	return limit
}

// try asks one coordinator.
func (c *Client) try(ctx context.Context, s *server, k call, limit time.Duration, target string, body []byte, mime string) (*http.Response, context.CancelFunc, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(limit, func() { cancel(fmt.Errorf("no answer within %s", limit)) })
	stop := func() {
		timer.Stop()
		cancel(nil)
	}
	resp, err := c.roundTrip(ctx, s, k, target, body, mime)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
			err = fmt.Errorf("%w: %s: %w", ErrUnreachable, s.name, cause)
		}
		stop()
		return nil, nil, err
	}
	if k.stream {
		timer.Stop() // whoever reads it watches it
	}
	return resp, stop, nil
}

func (c *Client) roundTrip(ctx context.Context, s *server, k call, target string, body []byte, mime string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, k.method, s.base+target, bytes.NewReader(body))
	if err != nil {
		return nil, api.Errorf(api.Invalid, "the request cannot be made: %v", err)
	}
	if body == nil {
		req.Body, req.GetBody, req.ContentLength = nil, nil, 0
	} else {
		req.Header.Set("Content-Type", mime)
	}
	if !k.once && req.GetBody != nil {
		// Tells net/http that the request may go out again on a fresh
		// connection when a kept one turns out to be closed.
		req.Header["Idempotency-Key"] = nil
	}
	for name, value := range k.header {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json, application/problem+json")
	}
	if c.userAgent != "" {
		req.Header.Set("User-Agent", c.userAgent)
	}
	pinned := c.pin()
	if pinned.cluster != "" {
		req.Header.Set(api.HeaderCluster, pinned.cluster)
	}
	token, err := c.secret()
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("%w: %s: %w%s", ErrUnreachable, s.name, err, remedy(err))
	}
	if err := c.believe(resp, s, pinned); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// believe checks whose answer it is, and turns anything but a 2xx into an error.
// Each answer is judged by what it says itself: another may come meanwhile.
func (c *Client) believe(resp *http.Response, s *server, pinned pin) error {
	cluster := resp.Header.Get(api.HeaderCluster)
	if pinned.cluster != "" && cluster != "" && cluster != pinned.cluster {
		return api.Errorf(api.WrongCluster, "%s answers for cluster %s, and cluster %s is the one that is trusted", s.name, cluster, pinned.cluster)
	}
	if pinned.cluster != "" && cluster == pinned.cluster {
		incarnation, err := strconv.ParseInt(resp.Header.Get(api.HeaderIncarnation), 10, 64)
		if err == nil && incarnation < pinned.incarnation {
			return api.Errorf(api.WrongCluster, "%s answers for incarnation %d of cluster %s, which a restore has replaced by %d", s.name, incarnation, cluster, pinned.incarnation)
		}
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return problem(resp, s.name)
	}
	if pinned.cluster != "" && cluster == "" {
		return fmt.Errorf("%w: %s: the answer does not name its cluster: is it a Lockkeeper coordinator?", ErrUnreachable, s.name)
	}
	return nil
}

func (c *Client) pin() pin {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pinned
}

// target is path and query, every segment escaped as in etcd's keys.
func (k *call) target() (string, error) {
	var b strings.Builder
	if !k.root {
		b.WriteString("/api/v1")
	}
	for _, segment := range k.path {
		if segment == "" {
			return "", api.Errorf(api.Invalid, "an id in the path %s is empty: want the name of what is meant", strings.Join(k.path, "/"))
		}
		b.WriteByte('/')
		b.WriteString(semaphore.EscapeID(segment))
	}
	if len(k.query) > 0 {
		b.WriteByte('?')
		b.WriteString(k.query.Encode())
	}
	return b.String(), nil
}

// notSent reports whether the request certainly did not reach a coordinator.
func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
