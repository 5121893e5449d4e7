package gate

import (
	"context"
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/ask"
	"github.com/lockkeeper/lockkeeper/coordinator/gate/condition"
)

const (
	defaultTimeout = 10 * time.Second
	// defaultSettle is for how long an Alertmanager that has started does not
	// know all alerts yet: a Prometheus sends each again once a minute.
	defaultSettle = 2 * time.Minute
)

// Config says what may be asked.
type Config struct {
	Prometheus   ask.Service // asked by gates without a URL
	Alertmanager ask.Service
	Allow        []string // further hosts, as ask.CheckPattern wants them
	Loopback     bool     // this host may be asked too
	CAFile       string   // PEM; the system's authorities if empty
	Commands     []string // absolute paths of programs that gates may run
	// Settle is how long an Alertmanager must have been up; 2 min if 0, and it
	// does not matter if it is less.
	Settle time.Duration
	Now    func() time.Time // nil: time.Now
}

// Checker asks gates. Its methods may be called from any goroutine.
type Checker struct {
	cfg    Config
	client *ask.Client
}

// New makes a Checker. What is not valid in its Config allows nothing.
func New(cfg Config) *Checker {
	if cfg.Settle == 0 {
		cfg.Settle = defaultSettle
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Checker{cfg: cfg, client: ask.New(ask.Config{
		Services: []ask.Service{cfg.Prometheus, cfg.Alertmanager}, Allow: cfg.Allow, Loopback: cfg.Loopback, CAFile: cfg.CAFile,
	})}
}

// Check makes one try, which takes no longer than the gate's timeout.
func (c *Checker) Check(ctx context.Context, g api.GateSpec) condition.Answer {
	ctx, cancel := ask.Within(ctx, timeout(g))
	defer cancel()
	a := c.try(ctx, g)
	a.Value, a.Detail, a.At = ask.Line(a.Value), ask.Line(a.Detail), c.cfg.Now()
	return a
}

func (c *Checker) try(ctx context.Context, g api.GateSpec) condition.Answer {
	if n := kinds(g); n != 1 {
		return missed("the gate has %d kinds: want exactly one", n)
	}
	switch {
	case g.PromQL != nil:
		return c.promQL(ctx, g.PromQL)
	case g.Alertmanager != nil:
		return c.alertmanager(ctx, g.Alertmanager)
	case g.HTTP != nil:
		return c.http(ctx, g.HTTP)
	case g.Command != nil:
		return c.command(ctx, g.Command)
	}
	return missed("people approve it: it is not asked")
}

// missed is a gate that does not pass.
func missed(format string, args ...any) condition.Answer {
	return condition.Answer{Detail: fmt.Sprintf(format, args...)}
}

// timeout bounds one try.
func timeout(g api.GateSpec) time.Duration {
	d, err := time.ParseDuration(g.Timeout)
	if err != nil || d <= 0 || d > maxTimeout {
		return defaultTimeout
	}
	return d
}
