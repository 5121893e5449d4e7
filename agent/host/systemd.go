package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"

	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// unitsWithin bounds one reload or restart of units.
const unitsWithin = 5 * time.Minute

// firstSoftReboot is the systemd that brought it.
const firstSoftReboot = 254

// booted reports whether systemd runs this host, as sd_booted(3) does.
func booted() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// withSystemd asks systemd over the bus, for 10 s at most.
func withSystemd(ctx context.Context, ask func(context.Context, *systemd.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := systemd.NewWithContext(ctx)
	if err != nil {
		return fmt.Errorf("systemd is not on the bus: %w", err)
	}
	defer conn.Close()
	return ask(ctx, conn)
}

// Units reloads or restarts units, one after another, and waits for each. Unit
// files that have changed are read again before.
func (l *Linux) Units(ctx context.Context, verb bundle.Interrupt, units []string) error {
	ctx, cancel := context.WithTimeout(ctx, unitsWithin)
	defer cancel()
	conn, err := systemd.NewWithContext(ctx)
	if err != nil {
		return l.systemctlUnits(ctx, verb, units, err)
	}
	defer conn.Close()
	if err := conn.Subscribe(); err != nil { // to the ends of jobs
		return fmt.Errorf("systemd: %w", err)
	}
	if err := readAgain(ctx, conn, units); err != nil {
		return err
	}
	start := conn.ReloadUnitContext
	if verb == bundle.InterruptRestart {
		start = conn.RestartUnitContext
	}
	for _, u := range units {
		ended := make(chan string, 1)
		if _, err := start(ctx, u, "replace", ended); err != nil {
			return fmt.Errorf("%s of %s: %w", verb, u, err)
		}
		select {
		case result := <-ended:
			if result != "done" {
				return fmt.Errorf("%s of %s: %s%s", verb, u, result, l.unitLog(ctx, u))
			}
		case <-ctx.Done():
			return fmt.Errorf("%s of %s: did not end: %w", verb, u, context.Cause(ctx))
		}
	}
	return nil
}

// readAgain makes systemd read unit files again if those of the units changed.
func readAgain(ctx context.Context, conn *systemd.Conn, units []string) error {
	for _, u := range units {
		p, err := conn.GetUnitPropertyContext(ctx, u, "NeedDaemonReload")
		if err != nil {
			return fmt.Errorf("systemd: unit %s: %w", u, err)
		}
		if stale, _ := p.Value.Value().(bool); stale {
			if err := conn.ReloadContext(ctx); err != nil {
				return fmt.Errorf("systemd does not read its unit files again: %w", err)
			}
			return nil
		}
	}
	return nil
}

// unitLog is the end of a unit's journal, where there is one.
func (l *Linux) unitLog(ctx context.Context, unit string) string {
	out, err := l.run(ctx, 10*time.Second, nil, "journalctl", "--no-pager", "--quiet", "--output=cat", "--boot", "--lines=10", "--unit="+unit)
	if err != nil || out == "" {
		return ""
	}
	return ": " + out
}

// systemctlUnits is for hosts without a bus.
func (l *Linux) systemctlUnits(ctx context.Context, verb bundle.Interrupt, units []string, why error) error {
	args := append([]string{string(verb), "--"}, units...)
	out, err := run(ctx, unitsWithin, nil, "systemctl", args...)
	if err != nil {
		err = fmt.Errorf("%w (and systemd is not on the bus: %w)", err, why)
	}
	return failed("systemctl "+string(verb)+" "+strings.Join(units, " "), out, err)
}

// unitActive reports why a unit is not active.
func (l *Linux) unitActive(ctx context.Context, unit string) error {
	return withSystemd(ctx, func(ctx context.Context, conn *systemd.Conn) error {
		list, err := conn.ListUnitsByNamesContext(ctx, []string{unit})
		if err != nil {
			return fmt.Errorf("systemd: %w", err)
		}
		if len(list) == 0 {
			return errors.New("systemd does not know it")
		}
		u := list[0]
		if u.ActiveState == "active" {
			return nil
		}
		return fmt.Errorf("it is %s (%s, %s), want active", u.ActiveState, u.LoadState, u.SubState)
	})
}

// noSoftReboot says why this host cannot reboot its userspace only, "" when it
// can.
func (l *Linux) noSoftReboot(ctx context.Context) string {
	var text string
	err := withSystemd(ctx, func(_ context.Context, conn *systemd.Conn) (err error) {
		text, err = conn.GetManagerProperty("Version") // a text in quotes
		return err
	})
	if err != nil {
		return "systemd does not say its version: " + err.Error()
	}
	if v := version(text); v < firstSoftReboot {
		return fmt.Sprintf("systemd is %s, and %d is the first that can", text, firstSoftReboot)
	}
	return ""
}

// startReboot starts what a reboot is for systemd: an orderly shutdown, as logind
// begins it, but past all inhibitors.
func startReboot(ctx context.Context, soft bool) error {
	target := "reboot.target"
	if soft {
		target = "soft-reboot.target"
	}
	return withSystemd(ctx, func(ctx context.Context, conn *systemd.Conn) error {
		if _, err := conn.StartUnitContext(ctx, target, "replace-irreversibly", nil); err != nil {
			return fmt.Errorf("systemd: start of %s: %w", target, err)
		}
		return nil
	})
}

// version is the leading number of a version such as "252.39-1~deb12u2" or
// v254; 0 when there is none.
func version(text string) int {
	text = strings.TrimPrefix(strings.Trim(text, `"`), "v")
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(text)
	}
	n, _ := strconv.Atoi(text[:end])
	return n
}

// Userspace changes with each boot of the userspace: with that of the kernel,
// and with a soft reboot, which keeps the boot id. It is when systemd says that
// the userspace began, which a soft reboot does not carry over.
func (l *Linux) Userspace(ctx context.Context) (string, error) {
	boot, err := l.BootID()
	if err != nil {
		return "", err
	}
	if !l.booted() {
		return boot, nil // there is nothing that could reboot softly
	}
	var began string
	err = withSystemd(ctx, func(_ context.Context, conn *systemd.Conn) (err error) {
		if began, err = conn.GetManagerProperty("UserspaceTimestampMonotonic"); err != nil {
			err = fmt.Errorf("systemd: %w", err)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return boot + "/" + strings.TrimPrefix(began, "@t "), nil
}

// Users are the people who are logged in.
func (l *Linux) Users(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	d, err := openLogind(ctx)
	if err != nil {
		return nil, err
	}
	defer d.close()
	return d.users(ctx)
}
