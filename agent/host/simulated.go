package host

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// Observer is told when a simulated host really goes out of service and when
// it is back, so that somebody besides the coordinator can count.
type Observer interface {
	Down(node string)
	Up(node string)
}

// SimConfig describes a simulated host.
type SimConfig struct {
	Node string
	// Dir is the folder that stands for the host's root; it is made.
	Dir string
	// RebootTime is how long a boot takes, ApplyTime how long putting a bundle
	// in place takes.
	RebootTime, ApplyTime time.Duration
	// FailHealth says why the host is not healthy with that bundle (empty: the
	// host as it was before any), or "" when it is. Nil: always healthy.
	FailHealth func(node, bundle string) string
	Observer   Observer // nil: nobody counts
}

// Simulated is a host in memory with its files in a folder. It outlives its
// own reboots: Boot is the boot, and the agent that runs on it is started anew.
// Commands, units and hooks succeed and do nothing.
type Simulated struct {
	cfg   SimConfig
	start time.Time

	mu     sync.Mutex
	bootID string
	down   bool
	boots  int
	needs  bool
}

// NewSimulated makes a host that has booted once.
func NewSimulated(cfg SimConfig) (*Simulated, error) {
	if cfg.Node == "" || cfg.Dir == "" {
		return nil, errors.New("a simulated host needs a node id and a folder")
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, err
	}
	return &Simulated{cfg: cfg, start: time.Now(), bootID: rand.Text()}, nil
}

// Node is the host's id.
func (s *Simulated) Node() string { return s.cfg.Node }

// Boot is the boot after a reboot: it takes RebootTime and changes the boot id.
func (s *Simulated) Boot(ctx context.Context) error {
	if err := sleep(ctx, s.cfg.RebootTime); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bootID = rand.Text()
	s.boots++
	s.needs = false
	return nil
}

// Boots counts the reboots.
func (s *Simulated) Boots() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.boots
}

// BootID changes with Boot.
func (s *Simulated) BootID() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bootID, nil
}

// Userspace is the boot id: a simulated host reboots as a whole.
func (s *Simulated) Userspace(context.Context) (string, error) { return s.BootID() }

// Clock counts from when the host was made.
func (s *Simulated) Clock() time.Duration { return time.Since(s.start) }

// MachineID is the node's id: there is no machine.
func (s *Simulated) MachineID() string { return "simulated-" + s.cfg.Node }

// OS says that the host is not real.
func (s *Simulated) OS() string { return "simulated host" }

// Root is the folder that stands for the host's root.
func (s *Simulated) Root() string { return s.cfg.Dir }

// Simulated is true.
func (s *Simulated) Simulated() bool { return true }

// SetNeedsReboot makes the host ask for a reboot until it boots.
func (s *Simulated) SetNeedsReboot(v bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.needs = v
}

// NeedsReboot is what SetNeedsReboot set.
func (s *Simulated) NeedsReboot() (why string, needs bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return "", s.needs
}

// Drain takes the host out of service, and the observer is told.
func (s *Simulated) Drain(ctx context.Context, _ []string) error { return s.setDown(ctx, true) }

// Undrain puts it back.
func (s *Simulated) Undrain(ctx context.Context, _ []string) error { return s.setDown(ctx, false) }

func (s *Simulated) setDown(ctx context.Context, down bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down == down {
		return nil
	}
	s.down = down
	switch {
	case s.cfg.Observer == nil:
	case down:
		s.cfg.Observer.Down(s.cfg.Node)
	default:
		s.cfg.Observer.Up(s.cfg.Node)
	}
	return nil
}

// Hook does nothing.
func (s *Simulated) Hook(ctx context.Context, _ HookPoint, _ []string) error { return ctx.Err() }

// Users are none.
func (s *Simulated) Users(ctx context.Context) ([]string, error) { return nil, ctx.Err() }

// Run does nothing.
func (s *Simulated) Run(ctx context.Context, _ Command) (string, error) { return "", ctx.Err() }

// Units does nothing.
func (s *Simulated) Units(ctx context.Context, _ bundle.Interrupt, _ []string) error {
	return ctx.Err()
}

// Pace takes ApplyTime.
func (s *Simulated) Pace(ctx context.Context) error { return sleep(ctx, s.cfg.ApplyTime) }

// Check asks FailHealth.
func (s *Simulated) Check(ctx context.Context, digest string, _ []bundle.Probe, _ []string) error {
	if s.cfg.FailHealth != nil {
		if why := s.cfg.FailHealth(s.cfg.Node, digest); why != "" {
			return errors.New(why)
		}
	}
	return ctx.Err()
}

// MayReboot is always so.
func (s *Simulated) MayReboot(ctx context.Context) error { return ctx.Err() }

// Reboot ends the agent's run.
func (s *Simulated) Reboot(ctx context.Context, _ bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return ErrRebooting
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
