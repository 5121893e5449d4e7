package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// from is an HTTP client whose requests come from an address of this host.
func from(t *testing.T, address string) *http.Client {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 30 * time.Second}
	transport := &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 4000}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// One client asks with more requests at once than are carried out within the
// second for which they stand in line, as fast as they are answered. It is told to slow down, and what another asks meanwhile is done.
func TestFlood_OfOneClientLeavesTheOthersInPeace(t *testing.T) {
	c, err := New(Config{DataDir: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0", Limits: LimitsConfig{Requests: 8}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}()
	quiet, err := client.New(client.Config{Servers: []string{c.URL()}, HTTP: from(t, "127.0.0.2")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := quiet.PutGroup(ctx, "web", api.GroupSpec{Slots: "2"}, "*"); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"flooded", "quiet"} {
		if _, err := quiet.Poll(ctx, node, api.PollRequest{Instance: node, BootID: "b", Report: api.Report{Seq: 1, Group: "web", Healthy: true}}); err != nil {
			t.Fatal(err)
		}
	}

	loud := from(t, "127.0.0.1")
	flood, calm := context.WithCancel(ctx)
	defer calm()
	var running sync.WaitGroup
	var refused, served, other atomic.Int64
	var wrong atomic.Value
	ask := func(i int) {
		running.Go(func() {
			for n := 0; flood.Err() == nil; n++ {
				body := fmt.Sprintf(`{"instance":"flooded","request":"%d-%d"}`, i, n)
				req, err := http.NewRequestWithContext(flood, http.MethodPut, c.URL()+"/api/v1/groups/web/holds/flooded", strings.NewReader(body))
				if err != nil {
					wrong.Store(err.Error())
					return
				}
				req.Header.Set("Content-Type", "application/json")
				resp, err := loud.Do(req)
				if err != nil {
					continue // the flood ended, or was too much for this host's own sockets
				}
				_, _ = io.Copy(io.Discard, resp.Body) // else its connection is not used again, and this host runs out of ports
				resp.Body.Close()
				switch {
				case resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "":
					refused.Add(1)
				case resp.StatusCode == http.StatusOK:
					served.Add(1)
				default:
					other.Add(1)
					wrong.Store(fmt.Sprintf("status %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After")))
				}
			}
		})
	}
	// How many that are is up to the machine. More than it takes would be for the
	// processor's time, which the flood has from the same process.
	asking := 0
	for rises := 100; refused.Load() == 0; rises = 2 * asking {
		for ; asking < rises; asking++ {
			ask(asking)
		}
		for late := time.Now().Add(1500 * time.Millisecond); refused.Load() == 0 && time.Now().Before(late); {
			time.Sleep(time.Millisecond)
		}
		if ctx.Err() != nil || asking > 10_000 {
			t.Fatalf("nothing of the flood was refused, of %d requests at once", asking)
		}
	}
	for i := range 5 {
		got, err := quiet.Acquire(ctx, "web", "quiet", api.AcquireRequest{Instance: "quiet", Request: fmt.Sprint(i)}, 0)
		if err != nil {
			t.Fatalf("another client's acquire: %v", err)
		}
		if err := quiet.Release(ctx, "web", "quiet", got.Hold.Fence, "quiet"); err != nil {
			t.Fatalf("another client's release: %v", err)
		}
	}
	calm()
	running.Wait()
	if served.Load() == 0 {
		t.Error("nothing of the flood was served: its client is allowed some")
	}
	if other.Load() > 0 {
		t.Errorf("%d of the flood ended otherwise, such as with %v", other.Load(), wrong.Load())
	}
	t.Logf("of the flood %d requests were refused, %d served, with %d at once", refused.Load(), served.Load(), asking)
}

func TestLimits_OutOfRangeAreNamed(t *testing.T) {
	for field, limits := range map[string]LimitsConfig{
		"limits.requests": {Requests: -1}, "limits.waiting": {Waiting: -5}, "want 1 to 1000000": {Requests: 1_000_001},
	} {
		_, err := New(Config{DataDir: t.TempDir(), Limits: limits})
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%+v: %v, want it to name %s", limits, err, field)
		}
	}
	var bad *FieldError
	if _, err := New(Config{DataDir: t.TempDir(), Limits: LimitsConfig{Requests: -1}}); !errors.As(err, &bad) || bad.Field != "limits.requests" {
		t.Errorf("the error is %v", err)
	}
}
