package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/lockkeeper/lockkeeper/agent/host"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle/signature"
)

// Coordinator is what the agent asks of a coordinator; *client.Client is one,
// and the coordinator's own service is another, in one process.
//
// Refusals are *api.Error; after any other error nothing is known of the
// outcome, and the agent asks again with the same request.
type Coordinator interface {
	Poll(ctx context.Context, node string, req api.PollRequest) (api.PollResponse, error)
	Acquire(ctx context.Context, group, node string, req api.AcquireRequest, wait time.Duration) (api.AcquireResponse, error)
	Confirm(ctx context.Context, group, node string, req api.ConfirmRequest) (api.Hold, error)
	Release(ctx context.Context, group, node string, fence int64, instance string) error
	LeaveQueue(ctx context.Context, group, node string) error
	Bundle(ctx context.Context, digest string) (api.Bundle, error)
	OpenBundle(ctx context.Context, digest string) (io.ReadCloser, int64, error)
}

// Config of an agent. Node, Group, StateDir, Coordinator and Host are needed.
type Config struct {
	Node, Group string
	Labels      map[string]string
	// StateDir holds journal, instance id, pinned cluster, bundles and the
	// previous generation of what they replaced. It is made, mode 0700.
	StateDir    string
	Coordinator Coordinator
	Host        host.Host
	Logger      *slog.Logger
	Version     string
	// Trust is who must have signed a bundle; nil asks for no signature.
	Trust *signature.Trust
	// Downloader fetches bundles that lie at a URL; nil refuses them.
	Downloader Downloader
	// MaxBundle is how large a bundle may be, in bytes; default 256 MiB, at most
	// bundle.MaxLinked.
	MaxBundle int64
	// Paths are the folders below which a bundle may write; default "/".
	Paths []string
	// MaxAttempts for one bundle on this node; default 2.
	MaxAttempts int
	// RebootWhenRequired: take a slot and reboot when the host asks for it, by its
	// file or by NeedCommand.
	RebootWhenRequired bool
	// NeedCommand is a line for /bin/sh that says whether the host needs a reboot:
	// exit status 0 yes, 1 no, and anything else is no answer and never a reason.
	// It is asked each NeedEvery; default 10 min.
	NeedCommand string
	NeedEvery   time.Duration
	// PollWait is how long one poll waits for news; default 30 s, at most 60 s.
	PollWait time.Duration
	// AcquireWait is how long one request for a slot waits; default 25 s.
	AcquireWait time.Duration
	// Retry is the first pause after a failed request; default 1 s. It doubles
	// to 30 s.
	Retry time.Duration
	// NotYetFor is how long hooks may ask to be called again, at each of their
	// points but undrain, before they count as failed; default 1 h.
	NotYetFor time.Duration
	// WaitForUsers is how long the drain waits for people to log out; it goes on
	// then. 0: it does not.
	WaitForUsers time.Duration
	// Ready is called once the state folder is locked and read.
	Ready func()
	// Changed is called when Stats may say something else; it must not wait.
	Changed func()
	// Failpoint is called at every step, by name. A syscall.Errno is what the
	// disk says there; any other error ends Run at once, as a crash would. For
	// tests.
	Failpoint func(step string) error
}

// RunSimulated runs an agent on a simulated host until ctx ends, and starts it
// again after each simulated reboot.
func RunSimulated(ctx context.Context, cfg Config, sim *host.Simulated) error {
	cfg.Host = sim
	for {
		err := New(cfg).Run(ctx)
		if !errors.Is(err, host.ErrRebooting) {
			return err
		}
		if err := sim.Boot(ctx); err != nil {
			return nil
		}
	}
}
