package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// RebootMethod is how a host is asked to reboot.
type RebootMethod string

// The methods.
const (
	RebootAuto      RebootMethod = "auto"      // the command, where one is given; else logind, else systemctl
	RebootLogind    RebootMethod = "logind"    // over D-Bus
	RebootSystemctl RebootMethod = "systemctl" // for hosts without a system bus
	RebootCommand   RebootMethod = "command"   // a line for /bin/sh
)

// RebootMethods lists them.
var RebootMethods = []RebootMethod{RebootAuto, RebootLogind, RebootSystemctl, RebootCommand}

// rebootRequest bounds the request for a reboot, not the reboot.
const rebootRequest = time.Minute

// errInhibited: an inhibitor lock blocks the shutdown.
var errInhibited = errors.New("the reboot is inhibited")

// MayReboot looks for inhibitor locks that block a reboot. ErrNotYet: they are
// waited for as long as InhibitFor says, counted from when the first was seen,
// and then ignored with InhibitForce, or else an error.
func (l *Linux) MayReboot(ctx context.Context) error {
	if l.cfg.RebootMethod == RebootSystemctl || l.method() == RebootCommand {
		return nil // systemctl looks itself, and a command is on its own
	}
	ctx, cancel := context.WithTimeout(ctx, rebootRequest)
	defer cancel()
	d, err := openLogind(ctx)
	if err != nil {
		return nil // the request will tell
	}
	defer d.close()
	who, err := d.inhibitors(ctx)
	if err != nil || len(who) == 0 {
		l.inhibited = 0
		return nil
	}
	err = l.wait(fmt.Errorf("%w by %s", errInhibited, strings.Join(who, "; ")))
	if errors.Is(err, errForced) {
		return nil
	}
	return err
}

// errForced: it was waited for long enough, and is not waited for any more.
var errForced = errors.New("forced")

// wait says what becomes of a reboot that is inhibited.
func (l *Linux) wait(err error) error {
	if l.inhibited == 0 {
		l.inhibited = max(1, l.Clock())
	}
	switch {
	case l.Clock()-l.inhibited < l.cfg.InhibitFor:
		return fmt.Errorf("%w: %w", ErrNotYet, err)
	case l.cfg.InhibitForce:
		return errForced
	}
	return fmt.Errorf("%w, for longer than %s", err, l.cfg.InhibitFor)
}

// Reboot asks for a reboot, or for one of the userspace only. Where that is not
// possible the whole host reboots, which does all that the other does. An
// inhibitor is handled as MayReboot does it.
func (l *Linux) Reboot(ctx context.Context, soft bool) error {
	ctx, cancel := context.WithTimeout(ctx, rebootRequest)
	defer cancel()
	err := l.reboot(ctx, soft, false)
	if errors.Is(err, errInhibited) {
		why := err
		if err = l.wait(err); errors.Is(err, errForced) {
			l.log().Warn("rebooting although it is inhibited", "waited", l.cfg.InhibitFor, "why", why)
			err = l.reboot(ctx, soft, true)
		}
	}
	if err == nil {
		l.inhibited = 0
	}
	return err
}

func (l *Linux) method() RebootMethod {
	if l.cfg.RebootMethod == RebootAuto && l.cfg.RebootCommand != "" {
		return RebootCommand
	}
	return l.cfg.RebootMethod
}

func (l *Linux) reboot(ctx context.Context, soft, force bool) error {
	method := l.method()
	if method == RebootCommand {
		// What it leaves in the background may be the reboot itself.
		out, err := run(ctx, rebootRequest, nil, "/bin/sh", "-c", l.cfg.RebootCommand)
		return failed(fmt.Sprintf("the reboot command %q", l.cfg.RebootCommand), out, err)
	}
	if soft {
		if why := l.noSoftReboot(ctx); why != "" {
			l.log().Warn("no soft reboot on this host: rebooting it whole", "why", why)
			soft = false
		}
	}
	if method == RebootSystemctl {
		return l.systemctlReboot(ctx, soft, force)
	}
	err := l.logindReboot(ctx, soft, force)
	if soft && err != nil && !errors.Is(err, errInhibited) {
		l.log().Warn("the soft reboot was refused: rebooting the whole host", "err", err)
		soft, err = false, l.logindReboot(ctx, false, force)
	}
	if method == RebootAuto && err != nil && !errors.Is(err, errInhibited) {
		l.log().Warn("logind did not take the request for a reboot: asking systemctl", "err", err)
		if second := l.systemctlReboot(ctx, soft, force); second != nil {
			return fmt.Errorf("%w; and then: %w", err, second)
		}
		return nil
	}
	return err
}

func (l *Linux) logindReboot(ctx context.Context, soft, force bool) error {
	d, err := openLogind(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	err = d.reboot(ctx, soft, force)
	if err == nil || !force {
		return err
	}
	// From systemd 257 on it lets nobody past an inhibitor whom polkit does not
	// vouch for, and there may be no polkit.
	l.log().Warn("logind does not reboot past an inhibitor: starting the target instead", "err", err)
	if second := startReboot(ctx, soft); second != nil {
		return fmt.Errorf("%w; and then: %w", err, second)
	}
	return nil
}

// systemctlReboot is not supervised: what it starts is not its own.
func (l *Linux) systemctlReboot(ctx context.Context, soft, force bool) error {
	args := []string{"--no-ask-password", "--check-inhibitors=yes", "reboot"}
	if soft {
		args[2] = "soft-reboot"
	}
	if force {
		args[1] = "--check-inhibitors=no"
	}
	out, err := run(ctx, rebootRequest, nil, "systemctl", args...)
	if err != nil && strings.Contains(out, "check-inhibitors") {
		args = append(args[:1], args[2:]...) // older than the option
		out, err = run(ctx, rebootRequest, nil, "systemctl", args...)
	}
	if err != nil && strings.Contains(out, "inhibit") {
		err = fmt.Errorf("%w: %w", errInhibited, err)
	}
	return failed("systemctl "+strings.Join(args, " "), out, err)
}

func (l *Linux) log() *slog.Logger {
	if l.cfg.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l.cfg.Logger
}
