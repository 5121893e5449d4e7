package host

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// counter is an observer.
type counter struct{ down, up int }

func (c *counter) Down(string) { c.down++ }
func (c *counter) Up(string)   { c.up++ }

func TestSimulated_ARebootChangesTheBootIDAndTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := NewSimulated(SimConfig{Node: "n", Dir: filepath.Join(t.TempDir(), "n"), RebootTime: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		before, _ := s.BootID()
		s.SetNeedsReboot(true)
		start := time.Now()
		if err := s.Reboot(t.Context(), false); !errors.Is(err, ErrRebooting) {
			t.Errorf("got %v", err)
		}
		if err := s.Boot(t.Context()); err != nil {
			t.Error(err)
		}
		after, _ := s.BootID()
		if before == after || time.Since(start) != time.Minute || s.Boots() != 1 || s.needs {
			t.Errorf("boot id %s, then %s, after %s", before, after, time.Since(start))
		}
	})
}

func TestSimulated_TheObserverIsToldOnceOfEachChange(t *testing.T) {
	var c counter
	s, err := NewSimulated(SimConfig{Node: "n", Dir: t.TempDir(), Observer: &c})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Drain(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.down != 1 || c.up != 0 {
		t.Errorf("down %d, up %d", c.down, c.up)
	}
	for range 2 {
		if err := s.Undrain(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if c.down != 1 || c.up != 1 {
		t.Errorf("down %d, up %d", c.down, c.up)
	}
}

func TestSimulated_EndsWithItsContext(t *testing.T) {
	s, err := NewSimulated(SimConfig{Node: "n", Dir: t.TempDir(), RebootTime: time.Hour, ApplyTime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{"boot": s.Boot(ctx), "pace": s.Pace(ctx), "reboot": s.Reboot(ctx, false)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
