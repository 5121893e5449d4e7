package host

import (
	"bufio"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

// bus is a real bus of the test's own, with a service that has the names,
// methods and types of logind and systemd, records what is asked, and answers
// what the test says. How the real ones behave is tested where they run.
type bus struct {
	t    *testing.T
	conn *dbus.Conn

	mu         sync.Mutex
	calls      []string
	inhibitors []inhibitor
	refuse     map[string]*dbus.Error // by method
	jobs       map[string]string      // results by unit; "done" unless given
	props      map[string]any         // "PATH INTERFACE.NAME"
	failed     []string               // units
	sessions   []session
}

type inhibitor struct {
	What, Who, Why, Mode string
	UID, PID             uint32
}

type session struct {
	ID   string
	UID  uint32
	User string
	Seat string
	Path dbus.ObjectPath
}

func newBus(t *testing.T) *bus {
	t.Helper()
	address := "unix:path=" + filepath.Join(t.TempDir(), "bus")
	daemon := exec.Command("dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address", "--address="+address)
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatalf("dbus-daemon, of the package dbus: %v", err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait() // it was killed
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("dbus-daemon: %v", err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	b := &bus{t: t, conn: conn, refuse: map[string]*dbus.Error{}, jobs: map[string]string{}, props: map[string]any{
		"/org/freedesktop/systemd1 org.freedesktop.systemd1.Manager.Version":                     "254.1-1",
		"/org/freedesktop/systemd1 org.freedesktop.systemd1.Manager.SystemState":                 "running",
		"/org/freedesktop/systemd1 org.freedesktop.systemd1.Manager.UserspaceTimestampMonotonic": uint64(1000),
	}}
	b.serve(login1, login1Path, login1+".Manager", map[string]any{
		"ListInhibitors": func() ([]inhibitor, *dbus.Error) {
			err := b.note("ListInhibitors")
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.inhibitors, err
		},
		"RebootWithFlags": func(flags uint64) *dbus.Error { return b.note("RebootWithFlags", flags) },
		"Reboot":          func(interactive bool) *dbus.Error { return b.note("Reboot", interactive) },
		"ListSessions": func() ([]session, *dbus.Error) {
			err := b.note("ListSessions")
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.sessions, err
		},
	})
	b.serve("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", map[string]any{
		"Subscribe":   func() *dbus.Error { return b.note("Subscribe") },
		"Reload":      func() *dbus.Error { return b.note("Reload") },
		"ReloadUnit":  func(u, mode string) (dbus.ObjectPath, *dbus.Error) { return b.job("ReloadUnit", u, mode) },
		"RestartUnit": func(u, mode string) (dbus.ObjectPath, *dbus.Error) { return b.job("RestartUnit", u, mode) },
		"StartUnit":   func(u, mode string) (dbus.ObjectPath, *dbus.Error) { return b.job("StartUnit", u, mode) },
		"ListUnitsFiltered": func(states []string) ([]unit, *dbus.Error) {
			err := b.note("ListUnitsFiltered", states)
			b.mu.Lock()
			defer b.mu.Unlock()
			var list []unit
			for _, name := range b.failed {
				list = append(list, unit{Name: name, Load: "loaded", Active: "failed", Sub: "failed", Path: "/x", JobPath: "/"})
			}
			return list, err
		},
		"ListUnitsByNames": func(names []string) ([]unit, *dbus.Error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			active := "active"
			if slices.Contains(b.failed, names[0]) {
				active = "failed"
			}
			return []unit{{Name: names[0], Load: "loaded", Active: active, Sub: "exited", Path: "/x", JobPath: "/"}}, nil
		},
	})
	for _, path := range []dbus.ObjectPath{"/org/freedesktop/systemd1", "/org/freedesktop/login1"} {
		get := map[string]any{"Get": func(m dbus.Message, iface, name string) (dbus.Variant, *dbus.Error) {
			at, _ := m.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
			b.mu.Lock()
			defer b.mu.Unlock()
			v, ok := b.props[string(at)+" "+iface+"."+name]
			if !ok {
				return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.UnknownProperty", []any{name + " of " + string(at)})
			}
			return dbus.MakeVariant(v), nil
		}}
		if err := conn.ExportSubtreeMethodTable(get, path, "org.freedesktop.DBus.Properties"); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// unit is one of a list of units.
type unit struct {
	Name, Description, Load, Active, Sub, Following string
	Path                                            dbus.ObjectPath
	JobID                                           uint32
	JobType                                         string
	JobPath                                         dbus.ObjectPath
}

func (b *bus) serve(name string, path dbus.ObjectPath, iface string, methods map[string]any) {
	b.t.Helper()
	if err := b.conn.ExportMethodTable(methods, path, iface); err != nil {
		b.t.Fatal(err)
	}
	if r, err := b.conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || r != dbus.RequestNameReplyPrimaryOwner {
		b.t.Fatal(name, r, err)
	}
}

// set changes what is answered.
func (b *bus) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// note records a call and says how it is answered.
func (b *bus) note(method string, args ...any) *dbus.Error {
	b.mu.Lock()
	defer b.mu.Unlock()
	call := method
	for _, a := range args {
		call += " " + fmt.Sprint(a)
	}
	b.calls = append(b.calls, call)
	return b.refuse[method]
}

// asked are the calls so far that begin with one of the words; they are
// forgotten then.
func (b *bus) asked(words ...string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := slices.DeleteFunc(b.calls, func(c string) bool {
		first, _, _ := strings.Cut(c, " ")
		return !slices.Contains(words, first)
	})
	b.calls = nil
	return out
}

// job answers with a job that ends at once.
func (b *bus) job(method, unit, mode string) (dbus.ObjectPath, *dbus.Error) {
	if err := b.note(method, unit, mode); err != nil {
		return "", err
	}
	b.mu.Lock()
	result := b.jobs[unit]
	b.mu.Unlock()
	if result == "" {
		result = "done"
	}
	const path = dbus.ObjectPath("/org/freedesktop/systemd1/job/1")
	if err := b.conn.Emit("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager.JobRemoved", uint32(1), path, unit, result); err != nil {
		b.t.Error(err)
	}
	return path, nil
}

// unitProp sets a property of a unit whose name has no character that is
// escaped in its path but the dot and the dash.
func (b *bus) unitProp(unit, name string, value any) {
	path := "/org/freedesktop/systemd1/unit/" + strings.NewReplacer(".", "_2e", "-", "_2d").Replace(unit)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.props[path+" org.freedesktop.systemd1.Unit."+name] = value
}

func (b *bus) managerProp(name string, value any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.props["/org/freedesktop/systemd1 org.freedesktop.systemd1.Manager."+name] = value
}
