package host

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

func reboots(b *bus) []string { return b.asked("RebootWithFlags", "Reboot") }

func TestReboot_AsksLogindAndLeavesInhibitorsInForce(t *testing.T) {
	b := newBus(t)
	b.set(func() {
		b.inhibitors = []inhibitor{
			{"shutdown", "NetworkManager", "sleeps first", "delay", 0, 1},
			{"sleep:handle-lid-switch", "a desktop", "a film", "block", 0, 2},
		}
	})
	if err := NewLinux(LinuxConfig{RebootMethod: RebootLogind}).Reboot(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if got := reboots(b); !slices.Equal(got, []string{"RebootWithFlags 1"}) {
		t.Errorf("asked %q", got)
	}
}

func TestReboot_AnOlderLogindIsAskedInItsOwnWords(t *testing.T) {
	b := newBus(t)
	b.set(func() {
		b.refuse["RebootWithFlags"] = dbus.NewError("org.freedesktop.DBus.Error.UnknownMethod", []any{"no such method"})
	})
	if err := NewLinux(LinuxConfig{RebootMethod: RebootLogind}).Reboot(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if got := reboots(b); !slices.Equal(got, []string{"RebootWithFlags 1", "Reboot false"}) {
		t.Errorf("asked %q", got)
	}
}

func TestReboot_ARefusalIsAnErrorThatSaysWhy(t *testing.T) {
	b := newBus(t)
	b.set(func() {
		b.refuse["RebootWithFlags"] = dbus.NewError("org.freedesktop.DBus.Error.AccessDenied", []any{"Permission denied"})
	})
	err := NewLinux(LinuxConfig{RebootMethod: RebootLogind}).Reboot(t.Context(), false)
	if err == nil || errors.Is(err, ErrNotYet) || err.Error() != "logind: Permission denied" {
		t.Errorf("got %v", err)
	}
}

func TestReboot_WaitsForInhibitorsAsLongAsItMay(t *testing.T) {
	blocked := []inhibitor{{"idle:shutdown", "apt", "packages are being installed", "block", 0, 4711}}
	for name, c := range map[string]struct {
		force  bool
		refuse *dbus.Error // of a logind whose inhibitor came after the list
		after  []string
		err    string
	}{
		"given up": {err: "the reboot is inhibited by apt (process 4711): packages are being installed, for longer than 50ms"},
		"forced":   {force: true, after: []string{"RebootWithFlags 16"}},
		"came since": {
			refuse: dbus.NewError(login1+".BlockedByInhibitorLock", []any{"Operation denied due to active block inhibitors"}),
			after:  []string{"RebootWithFlags 1"},
			err:    "the reboot is inhibited: Operation denied due to active block inhibitors, for longer than 50ms",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBus(t)
			b.set(func() { b.inhibitors = blocked })
			if c.refuse != nil {
				b.set(func() { b.inhibitors, b.refuse["RebootWithFlags"] = nil, c.refuse })
			}
			l := NewLinux(LinuxConfig{InhibitFor: 50 * time.Millisecond, InhibitForce: c.force})
			err := l.MayReboot(t.Context())
			if c.refuse != nil {
				if err != nil {
					t.Errorf("before: %v", err)
				}
				err = l.Reboot(t.Context(), false)
			}
			if !errors.Is(err, ErrNotYet) || !strings.Contains(err.Error(), "inhibit") {
				t.Fatalf("at first: %v", err)
			}
			if got := reboots(b); c.refuse == nil && len(got) != 0 {
				t.Errorf("asked %q", got)
			}
			for begin := l.Clock(); l.Clock()-begin < 60*time.Millisecond; {
				time.Sleep(time.Millisecond)
			}
			if err = nil; c.refuse == nil {
				err = l.MayReboot(t.Context())
			}
			if err == nil {
				err = l.Reboot(t.Context(), false)
			}
			if (err == nil) != (c.err == "") || err != nil && (err.Error() != c.err || errors.Is(err, ErrNotYet)) {
				t.Errorf("in the end: %v", err)
			}
			if got := reboots(b); !slices.Equal(got, c.after) {
				t.Errorf("asked %q in the end", got)
			}
		})
	}
}

// From systemd 257 on a forced reboot needs polkit, which servers may not have.
func TestReboot_ForcedPastALogindThatDoesNotAllowIt(t *testing.T) {
	b := newBus(t)
	b.set(func() {
		b.inhibitors = []inhibitor{{"shutdown", "apt", "packages", "block", 0, 1}}
		b.refuse["RebootWithFlags"] = dbus.NewError("org.freedesktop.DBus.Error.AccessDenied", []any{"Permission denied"})
	})
	l := NewLinux(LinuxConfig{RebootMethod: RebootLogind, InhibitForce: true})
	if err := l.MayReboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Reboot(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if got := b.asked("RebootWithFlags", "StartUnit"); !slices.Equal(got, []string{"RebootWithFlags 16", "StartUnit reboot.target replace-irreversibly"}) {
		t.Errorf("asked %q", got)
	}
}

func TestReboot_AnInhibitorThatGoesIsWaitedForAndNoMore(t *testing.T) {
	b := newBus(t)
	b.set(func() { b.inhibitors = []inhibitor{{"shutdown", "apt", "packages", "block-weak", 0, 1}} })
	l := NewLinux(LinuxConfig{RebootMethod: RebootLogind, InhibitFor: time.Hour})
	if err := l.Reboot(t.Context(), false); !errors.Is(err, ErrNotYet) {
		t.Errorf("got %v", err)
	}
	b.set(func() { b.inhibitors = nil })
	if err := l.Reboot(t.Context(), false); err != nil || l.inhibited != 0 {
		t.Errorf("got %v", err)
	}
}

func TestReboot_SoftWhereTheHostCanAndWholeWhereNot(t *testing.T) {
	for name, c := range map[string]struct {
		version string
		refuse  string
		asked   []string
		log     string
	}{
		"can":      {"254.1-1", "", []string{"RebootWithFlags 5"}, ""},
		"too old":  {"252.39-1~deb12u2", "", []string{"RebootWithFlags 1"}, "254 is the first that can"},
		"no":       {"v257", "org.freedesktop.DBus.Error.InvalidArgs", []string{"RebootWithFlags 5", "RebootWithFlags 1"}, "the soft reboot was refused"},
		"no words": {"rolling", "", []string{"RebootWithFlags 1"}, "254 is the first that can"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBus(t)
			b.managerProp("Version", c.version)
			var log bytes.Buffer
			l := NewLinux(LinuxConfig{RebootMethod: RebootLogind, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if c.refuse != "" {
				b.set(func() { b.refuse["RebootWithFlags"] = dbus.NewError(c.refuse, []any{"no"}) })
			}
			err := l.Reboot(t.Context(), true)
			if (err != nil) != (c.refuse != "") {
				t.Error(err)
			}
			if got := reboots(b); !slices.Equal(got, c.asked) {
				t.Errorf("asked %q, want %q", got, c.asked)
			}
			if !strings.Contains(log.String(), c.log) || c.log == "" && log.Len() > 0 {
				t.Errorf("logged %s", &log)
			}
		})
	}
}

// A command given is what auto takes, and a soft reboot is one by the same command.
func TestReboot_AutoTakesTheCommandThatIsGiven(t *testing.T) {
	b := newBus(t)
	err := NewLinux(LinuxConfig{RebootCommand: "echo no authority; false"}).Reboot(t.Context(), true)
	if err == nil || !strings.Contains(err.Error(), "no authority") {
		t.Errorf("got %v", err)
	}
	if got := reboots(b); len(got) != 0 {
		t.Errorf("logind was asked %q", got)
	}
}
