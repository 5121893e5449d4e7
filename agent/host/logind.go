package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
)

// The names under which logind is on the system bus, as in
// org.freedesktop.login1(5).
const (
	login1        = "org.freedesktop.login1"
	login1Path    = "/org/freedesktop/login1"
	login1Manager = login1 + ".Manager."
	login1Session = login1 + ".Session."
)

// Flags of RebootWithFlags, as in sd-login.h.
const (
	checkInhibitors uint64 = 1 << 0 // for root too
	softReboot      uint64 = 1 << 2 // systemd 254
	skipInhibitors  uint64 = 1 << 4 // systemd 257, where root does not skip them by itself
)

// logind is a connection to the system bus, and logind on it.
type logind struct {
	conn *dbus.Conn
	obj  dbus.BusObject
}

// openLogind connects to the system bus. Whether logind is there is known only
// when it is asked for something.
func openLogind(ctx context.Context) (*logind, error) {
	conn, err := dbus.SystemBusPrivate(dbus.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("the system bus: %w", err)
	}
	// By number: the user's name may not be known to a static program.
	if err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))}); err == nil {
		err = conn.Hello()
	}
	if err != nil {
		_ = conn.Close() // it is of no use
		return nil, fmt.Errorf("the system bus: %w", err)
	}
	return &logind{conn, conn.Object(login1, login1Path)}, nil
}

func (d *logind) close() { _ = d.conn.Close() }

// inhibitors are those that block a shutdown, each in words. What only delays
// one is logind's to wait for.
func (d *logind) inhibitors(ctx context.Context) ([]string, error) {
	var all []struct {
		What, Who, Why, Mode string
		UID, PID             uint32
	}
	if err := d.obj.CallWithContext(ctx, login1Manager+"ListInhibitors", 0).Store(&all); err != nil {
		return nil, fmt.Errorf("logind's inhibitors: %w", err)
	}
	var out []string
	for _, i := range all {
		blocks := strings.HasPrefix(i.Mode, "block") // or block-weak
		for what := range strings.SplitSeq(i.What, ":") {
			if blocks && what == "shutdown" {
				out = append(out, fmt.Sprintf("%s (process %d): %s", i.Who, i.PID, i.Why))
			}
		}
	}
	return out, nil
}

// reboot asks for a reboot. errInhibited: something blocks it, and force was
// not given.
func (d *logind) reboot(ctx context.Context, soft, force bool) error {
	if !force {
		who, err := d.inhibitors(ctx)
		if err != nil {
			return err
		}
		if len(who) > 0 {
			return fmt.Errorf("%w by %s", errInhibited, strings.Join(who, "; "))
		}
	}
	flags := checkInhibitors // one may have come since they were listed
	if force {
		flags = skipInhibitors
	}
	if soft {
		flags |= softReboot
	}
	err := d.obj.CallWithContext(ctx, login1Manager+"RebootWithFlags", 0, flags).Err
	if force && isError(err, "org.freedesktop.DBus.Error.InvalidArgs") {
		// Older than the flag, and root skips inhibitors by itself there.
		err = d.obj.CallWithContext(ctx, login1Manager+"RebootWithFlags", 0, flags&^skipInhibitors).Err
	}
	if !soft && isError(err, "org.freedesktop.DBus.Error.UnknownMethod") {
		err = d.obj.CallWithContext(ctx, login1Manager+"Reboot", 0, false).Err // before systemd 248
	}
	switch {
	case err == nil:
		return nil
	case isError(err, login1+".BlockedByInhibitorLock"), isError(err, login1+".OperationInhibited"):
		return fmt.Errorf("%w: %w", errInhibited, err)
	}
	return fmt.Errorf("logind: %w", err)
}

// users are the people who are logged in, each once.
func (d *logind) users(ctx context.Context) ([]string, error) {
	var sessions []struct {
		ID   string
		UID  uint32
		User string
		Seat string
		Path dbus.ObjectPath
	}
	if err := d.obj.CallWithContext(ctx, login1Manager+"ListSessions", 0).Store(&sessions); err != nil {
		return nil, fmt.Errorf("logind's sessions: %w", err)
	}
	var out []string
	seen := map[string]bool{}
	for _, s := range sessions {
		var class, state string
		obj := d.conn.Object(login1, s.Path)
		if err := errors.Join(property(ctx, obj, login1Session+"Class", &class), property(ctx, obj, login1Session+"State", &state)); err != nil {
			continue // it has ended meanwhile
		}
		// Not greeters, lock screens, managers and background sessions.
		if strings.HasPrefix(class, "user") && state != "closing" && !seen[s.User] {
			seen[s.User] = true
			out = append(out, s.User)
		}
	}
	return out, nil
}

// property reads one property, within ctx.
func property(ctx context.Context, obj dbus.BusObject, name string, to any) error {
	dot := strings.LastIndexByte(name, '.')
	var v dbus.Variant
	if err := obj.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, name[:dot], name[dot+1:]).Store(&v); err != nil {
		return err
	}
	return v.Store(to)
}

// isError reports a D-Bus error of that name.
func isError(err error, name string) bool {
	var e dbus.Error
	return errors.As(err, &e) && e.Name == name
}
