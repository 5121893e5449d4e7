package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Bench measures puts on the coordinator's own store.
func (c *Client) Bench(ctx context.Context, req api.BenchRequest) (api.Measured, error) {
	var out api.Measured
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: []string{"bench"}, in: req, out: &out,
		wait: time.Duration(req.Seconds * float64(time.Second)), once: true,
	})
	return out, err
}

// Metrics is the coordinator's /metrics, in Prometheus' text format.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	resp, cancel, err := c.send(ctx, call{
		method: http.MethodGet, path: []string{"metrics"}, root: true, header: map[string]string{"Accept": "text/plain"},
	})
	if err != nil {
		return nil, err
	}
	defer cancel()
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%w: the answer broke off: %w", ErrUnreachable, err)
	}
	return text, nil
}
