package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/google/renameio/v2"
)

// SystemHealth is what systemd must say of a host for it to be healthy.
type SystemHealth string

// The levels. Each asks for what those before it ask for.
const (
	HealthOff   SystemHealth = "off"
	HealthBoot  SystemHealth = "boot"  // the boot has ended, not in a rescue shell, and boot-complete.target is reached if anything waits for it
	HealthUnits SystemHealth = "units" // and no unit has failed that had not failed before the work began
)

// SystemHealths lists them.
var SystemHealths = []SystemHealth{HealthOff, HealthBoot, HealthUnits}

// systemHealth asks systemd how the host does.
func (l *Linux) systemHealth(ctx context.Context) error {
	if l.cfg.SystemHealth == HealthOff || !l.booted() {
		return nil
	}
	return withSystemd(ctx, l.lookAtBoot)
}

// lookAtBoot reports what is not as it should be after a boot.
func (l *Linux) lookAtBoot(ctx context.Context, conn *systemd.Conn) error {
	if err := bootEnded(ctx, conn); err != nil || l.cfg.SystemHealth != HealthUnits {
		return err
	}
	before, noted, err := l.before()
	if err != nil || !noted {
		return err
	}
	now, err := failedUnits(ctx, conn)
	if err != nil {
		return err
	}
	now = slices.DeleteFunc(now, func(u string) bool { return slices.Contains(before, u) })
	if len(now) > 0 {
		return fmt.Errorf("systemd: units have failed that had not failed before: %s", strings.Join(now, ", "))
	}
	return nil
}

// bootEnded reports why the boot does not count as done and good.
func bootEnded(ctx context.Context, conn *systemd.Conn) error {
	p, err := conn.SystemStateContext(ctx)
	if err != nil {
		return fmt.Errorf("systemd: %w", err)
	}
	switch state, _ := p.Value.Value().(string); state {
	case "running", "degraded":
	case "maintenance":
		return errors.New("systemd: the host is in its rescue or emergency shell")
	default:
		return fmt.Errorf("systemd: the host is still %s, want running", state)
	}
	// It is reached only where something waits for it, such as what marks a boot
	// as good for the boot loader.
	const target = "boot-complete.target"
	for _, by := range []string{"RequiredBy", "WantedBy"} {
		p, err := conn.GetUnitPropertyContext(ctx, target, by)
		if err != nil {
			return fmt.Errorf("systemd: %s: %w", target, err)
		}
		who, _ := p.Value.Value().([]string)
		if len(who) == 0 {
			continue
		}
		a, err := conn.GetUnitPropertyContext(ctx, target, "ActiveState")
		if err != nil {
			return fmt.Errorf("systemd: %s: %w", target, err)
		}
		if state, _ := a.Value.Value().(string); state != "active" {
			return fmt.Errorf("systemd: %s is %s, and %s waits for it", target, state, strings.Join(who, ", "))
		}
		return nil
	}
	return nil
}

func failedUnits(ctx context.Context, conn *systemd.Conn) ([]string, error) {
	list, err := conn.ListUnitsFilteredContext(ctx, []string{"failed"})
	if err != nil {
		return nil, fmt.Errorf("systemd's failed units: %w", err)
	}
	out := []string{}
	for _, u := range list {
		out = append(out, u.Name)
	}
	slices.Sort(out)
	return out, nil
}

func (l *Linux) notes() string { return filepath.Join(l.cfg.NotesDir, "failed-units.json") }

// noteBefore keeps which units had failed before the work began, unless that is
// kept already: what a bundle breaks must not count as broken before.
func (l *Linux) noteBefore(ctx context.Context) error {
	if l.cfg.NotesDir == "" || l.cfg.SystemHealth != HealthUnits || !l.booted() {
		return nil
	}
	if _, noted, err := l.before(); err != nil || noted {
		return err
	}
	return withSystemd(ctx, func(ctx context.Context, conn *systemd.Conn) error {
		units, err := failedUnits(ctx, conn)
		if err != nil {
			return err
		}
		b, err := json.Marshal(units)
		if err != nil {
			return err
		}
		return renameio.WriteFile(l.notes(), b, 0o600, renameio.WithTempDir(l.cfg.NotesDir))
	})
}

// before is what noteBefore kept.
func (l *Linux) before() (units []string, noted bool, err error) {
	if l.cfg.NotesDir == "" {
		return nil, false, nil
	}
	b, err := os.ReadFile(l.notes())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	if err := json.Unmarshal(b, &units); err != nil {
		// Cut off by a power loss; with nothing to compare with, nothing counts.
		return nil, false, nil
	}
	return units, true, nil
}

func (l *Linux) forgetBefore() error {
	if l.cfg.NotesDir == "" {
		return nil
	}
	if err := os.Remove(l.notes()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
