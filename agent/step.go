package agent

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/lockkeeper/lockkeeper/agent/host"
)

// crashed is a Failpoint's error: Run ends as if the process had died.
type crashed struct{ err error }

func (c *crashed) Error() string { return c.err.Error() }
func (c *crashed) Unwrap() error { return c.err }

// builtin is the failpoint of a program that was built to be killed; nil in all
// others.
var builtin func(step string) error

func (a *Agent) step(name string) error {
	if a.cfg.Failpoint == nil {
		return nil
	}
	err := a.cfg.Failpoint(name)
	var disk syscall.Errno
	if errors.As(err, &disk) {
		return err
	}
	if err != nil {
		return &crashed{fmt.Errorf("failpoint %q: %w", name, err)}
	}
	return nil
}

// ends reports an error that ends the run.
func ends(err error) bool {
	var c *crashed
	return errors.As(err, &c) || errors.Is(err, host.ErrRebooting)
}
