// Package host is what the agent needs of the machine that it runs on: boot
// id and clock, drain hooks, commands, health checks and the reboot. Linux is
// the real adapter; Simulated is a host in memory, for demonstrations and tests.
package host

import (
	"context"
	"errors"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// Host is one machine.
type Host interface {
	// BootID changes with each boot of the kernel, and only then.
	BootID() (string, error)
	// Userspace changes with each boot of the kernel and with each soft reboot,
	// which the boot id does not show.
	Userspace(ctx context.Context) (string, error)
	// Clock is CLOCK_BOOTTIME: it goes on while the machine is suspended, and
	// nobody sets it.
	Clock() time.Duration
	// MachineID is that of /etc/machine-id, empty when there is none.
	MachineID() string
	// OS is the system's name for people, such as "Debian GNU/Linux 12 (bookworm)".
	OS() string
	// Root is the folder below which a bundle's paths lie, "/" for a real host.
	Root() string
	// Simulated: nothing here happens to a real machine.
	Simulated() bool
	// NeedsReboot: the host says that it wants to be rebooted, and why if it
	// says that.
	NeedsReboot() (why string, needs bool)

	// Drain takes the host out of service; ErrNotYet asks to be called again.
	// Undrain puts it back. Both may be called again when they are done.
	Drain(ctx context.Context, env []string) error
	Undrain(ctx context.Context, env []string) error
	// Hook runs the hooks of one of the other points; errors are Drain's. They
	// may run again when they are done.
	Hook(ctx context.Context, point HookPoint, env []string) error
	// Users are the people who are logged in.
	Users(ctx context.Context) ([]string, error)
	// Run runs a command line and returns the end of its output. It may be called
	// beside the other methods. The error says
	// how it failed; it is ctx's when that ended.
	Run(ctx context.Context, c Command) (output string, err error)
	// Units reloads or restarts systemd units.
	Units(ctx context.Context, verb bundle.Interrupt, units []string) error
	// Check makes one round of health checks for the bundle with that digest,
	// nil when all pass.
	Check(ctx context.Context, digest string, probes []bundle.Probe, env []string) error
	// MayReboot reports what keeps the host from a reboot: ErrNotYet for now,
	// anything else for good.
	MayReboot(ctx context.Context) error
	// Reboot asks for a reboot, a soft one where the host can. It returns nil
	// when the request was accepted: this process will be ended. ErrNotYet:
	// something keeps the host from it for now. ErrRebooting: the agent returns at
	// once, and whoever runs it starts it again after the boot.
	Reboot(ctx context.Context, soft bool) error
}

// Command is a line for /bin/sh.
type Command struct {
	Line    string
	Env     []string // "NAME=value", in addition to PATH
	Timeout time.Duration
}

// Errors of a Host.
var (
	// ErrNotYet: what was asked wants to be asked again, as a hook with exit
	// status 75.
	ErrNotYet = errors.New("not yet")
	// ErrRebooting: the host goes down.
	ErrRebooting = errors.New("the host reboots")
)

// Pacer is a host that takes time for what others do themselves: the simulated
// one, so that its work can be seen.
type Pacer interface {
	Pace(ctx context.Context) error
}
