package host

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

func units(b *bus) []string { return b.asked("Reload", "ReloadUnit", "RestartUnit") }

func TestUnits_AreReloadedAndRestartedAndWaitedFor(t *testing.T) {
	b := newBus(t)
	l := NewLinux(LinuxConfig{})
	for _, u := range []string{"nginx.service", "app.service"} {
		b.unitProp(u, "NeedDaemonReload", false)
	}
	if err := l.Units(t.Context(), bundle.InterruptReload, []string{"nginx.service", "app.service"}); err != nil {
		t.Fatal(err)
	}
	if got := units(b); !slices.Equal(got, []string{"ReloadUnit nginx.service replace", "ReloadUnit app.service replace"}) {
		t.Errorf("asked %q", got)
	}
	b.unitProp("app.service", "NeedDaemonReload", true)
	if err := l.Units(t.Context(), bundle.InterruptRestart, []string{"nginx.service", "app.service"}); err != nil {
		t.Fatal(err)
	}
	if got := units(b); !slices.Equal(got, []string{"Reload", "RestartUnit nginx.service replace", "RestartUnit app.service replace"}) {
		t.Errorf("asked %q, with a unit file that has changed", got)
	}
	b.set(func() { b.jobs["nginx.service"] = "failed" })
	err := l.Units(t.Context(), bundle.InterruptRestart, []string{"nginx.service", "app.service"})
	if err == nil || !strings.Contains(err.Error(), "restart of nginx.service: failed") {
		t.Errorf("got %v", err)
	}
	if got := units(b); len(got) != 2 {
		t.Errorf("went on after a failure: %q", got)
	}
}

func TestCheck_AUnitIsHealthyWhileItIsActive(t *testing.T) {
	b := newBus(t)
	l := NewLinux(LinuxConfig{SystemHealth: HealthOff})
	probes := []bundle.Probe{{Unit: "app.service", Timeout: bundle.Duration(time.Minute)}}
	if err := l.Check(t.Context(), "", probes, nil); err != nil {
		t.Error(err)
	}
	b.set(func() { b.failed = []string{"app.service"} })
	if err := l.Check(t.Context(), "", probes, nil); err == nil || !strings.Contains(err.Error(), "health check unit app.service: it is failed (loaded, exited), want active") {
		t.Errorf("got %v", err)
	}
}

// onSystemd is a host that is run by the bus's systemd.
func onSystemd(cfg LinuxConfig) *Linux {
	l := NewLinux(cfg)
	l.booted = func() bool { return true }
	return l
}

func TestSystemHealth_TheBootMustHaveEnded(t *testing.T) {
	b := newBus(t)
	l := onSystemd(LinuxConfig{})
	b.unitProp("boot-complete.target", "RequiredBy", []string{})
	b.unitProp("boot-complete.target", "WantedBy", []string{})
	check := func() error { return l.Check(t.Context(), "", nil, nil) }
	for state, want := range map[string]string{
		"running": "", "degraded": "", "starting": "still starting", "initializing": "still initializing", "maintenance": "rescue or emergency shell",
	} {
		b.managerProp("SystemState", state)
		if err := check(); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", state, err)
		}
	}
	b.managerProp("SystemState", "running")
	b.unitProp("boot-complete.target", "RequiredBy", []string{"systemd-bless-boot.service"})
	b.unitProp("boot-complete.target", "ActiveState", "inactive")
	if err := check(); err == nil || !strings.Contains(err.Error(), "boot-complete.target is inactive, and systemd-bless-boot.service waits for it") {
		t.Errorf("got %v", err)
	}
	b.unitProp("boot-complete.target", "ActiveState", "active")
	if err := check(); err != nil {
		t.Error(err)
	}
}

// What had failed before the work counts as before, also when the drain runs
// again after the bundle broke something, and until the host is in service.
func TestSystemHealth_UnitsThatHaveFailedSinceAreFoundAndOthersAreNot(t *testing.T) {
	b := newBus(t)
	notes := t.TempDir()
	fresh := func() *Linux { // as after a reboot
		return onSystemd(LinuxConfig{SystemHealth: HealthUnits, NotesDir: notes, HooksDir: notes})
	}
	b.unitProp("boot-complete.target", "RequiredBy", []string{})
	b.unitProp("boot-complete.target", "WantedBy", []string{})
	b.set(func() { b.failed = []string{"old.service"} })
	if err := fresh().Drain(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := fresh().Check(t.Context(), "", nil, nil); err != nil {
		t.Errorf("before: %v", err)
	}
	b.set(func() { b.failed = []string{"old.service", "new.service"} })
	if err := fresh().Drain(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	err := fresh().Check(t.Context(), "", nil, nil)
	if err == nil || !strings.Contains(err.Error(), "units have failed that had not failed before: new.service") {
		t.Errorf("after: %v", err)
	}
	l := fresh()
	if err := l.Undrain(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Drain(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Check(t.Context(), "", nil, nil); err != nil {
		t.Errorf("in the next job: %v", err)
	}
}

func TestUserspace_ChangesWithASoftRebootOnly(t *testing.T) {
	b := newBus(t)
	l := onSystemd(LinuxConfig{})
	read := func() string {
		u, err := l.Userspace(t.Context())
		if err != nil || u == "" {
			t.Fatalf("%q, %v", u, err)
		}
		return u
	}
	first := read()
	if again := read(); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	b.managerProp("UserspaceTimestampMonotonic", uint64(2000))
	if after := read(); after == first {
		t.Error("the same after a soft reboot")
	}
}

func TestUsers_AreThePeopleWhoAreLoggedIn(t *testing.T) {
	b := newBus(t)
	add := func(id, user, class, state string) {
		path := "/org/freedesktop/login1/session/_3" + id
		b.set(func() {
			b.sessions = append(b.sessions, session{ID: id, User: user, Path: dbus.ObjectPath(path)})
			b.props[path+" "+login1+".Session.Class"] = class
			b.props[path+" "+login1+".Session.State"] = state
		})
	}
	l := NewLinux(LinuxConfig{})
	add("1", "gdm", "greeter", "active")
	add("2", "ann", "user", "closing")
	add("3", "cron", "background", "active")
	if got, err := l.Users(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("%q, %v", got, err)
	}
	add("4", "bob", "user", "active")
	add("5", "bob", "user", "online")
	add("6", "eve", "user-early", "active")
	if got, err := l.Users(t.Context()); err != nil || !slices.Equal(got, []string{"bob", "eve"}) {
		t.Errorf("%q, %v", got, err)
	}
}
