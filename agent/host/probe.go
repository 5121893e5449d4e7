package host

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// Check makes one round of health checks: what systemd says of the host, and
// then the bundle's.
func (l *Linux) Check(ctx context.Context, _ string, probes []bundle.Probe, env []string) error {
	if err := l.systemHealth(ctx); err != nil {
		return err
	}
	for _, p := range probes {
		if err := l.probe(ctx, p, env); err != nil {
			return fmt.Errorf("health check %s: %w", p, err)
		}
	}
	return nil
}

func (l *Linux) probe(ctx context.Context, p bundle.Probe, env []string) error {
	timeout := time.Duration(p.Timeout)
	if p.Command != "" {
		out, err := l.run(ctx, timeout, env, "/bin/sh", "-c", p.Command)
		if err != nil && out != "" {
			return fmt.Errorf("%w: %s", err, out)
		}
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if p.TCP != "" {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", p.TCP)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	if p.Unit != "" {
		return l.unitActive(ctx, p.Unit)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.HTTP, nil)
	if err != nil {
		return err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("HTTP status %d, want 200 to 299", resp.StatusCode)
	}
	return nil
}
