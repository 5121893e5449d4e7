package bundle

import (
	"fmt"
	"strings"
	"time"
)

// Bounds of a bundle.
const (
	// MaxSize is how large a bundle may be that a coordinator stores, in bytes of
	// the whole file. It bounds a manifest and a rendered file too.
	MaxSize = 1 << 20
	// MaxLinked is how large one may be that lies elsewhere, at a URL.
	MaxLinked = 1 << 30
	MaxFiles  = 1000
	// Version is the manifest's `v` that this program reads and writes.
	Version = 1
)

// Defaults that Encode fills in for what a manifest leaves out. A min_healthy_time
// of 0s is left out only together with the deadline: with one it means 0s.
const (
	DefaultCommandTimeout  = Duration(time.Minute)
	DefaultProbeTimeout    = Duration(5 * time.Second)
	DefaultMinHealthyTime  = Duration(10 * time.Second)
	DefaultHealthyDeadline = Duration(5 * time.Minute)
)

// Manifest says what a bundle does to a host.
type Manifest struct {
	V       int    `json:"v"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"` // for people, such as "2026.11.2"
	// Requires says which hosts the bundle is for; the others refuse it before
	// they take a slot.
	Requires *Requires `json:"requires,omitempty"`
	Files    []File    `json:"files"` // in the order of their paths
	// Check runs before anything is put in place; the new files are below
	// $LOCKKEEPER_STAGED. Command runs when they are in place.
	Check   *Command `json:"check,omitempty"`
	Command *Command `json:"command,omitempty"`
	Health  []Probe  `json:"health,omitempty"`
	// MinHealthyTime is how long all probes must pass without a break, and
	// HealthyDeadline until when that must have happened, after the interrupt.
	// Without probes a host is healthy while it is up, and MinHealthyTime has to
	// pass all the same before its slot is returned. The deadline runs on while
	// there is no quorum or the fleet is frozen: it is the host's own.
	MinHealthyTime  Duration `json:"min_healthy_time"`
	HealthyDeadline Duration `json:"healthy_deadline"`
}

// File is one file: its content is the tar member files/<Path>.
type File struct {
	Path      string    `json:"path"`            // absolute, on the host
	Mode      string    `json:"mode"`            // "0644"
	Owner     string    `json:"owner,omitempty"` // "user:group"; empty: as the file that it replaces
	Size      int64     `json:"size"`
	SHA256    string    `json:"sha256"` // of the content, in hex
	Interrupt Interrupt `json:"interrupt"`
	Units     []string  `json:"units,omitempty"`  // for reload and restart
	Render    bool      `json:"render,omitempty"` // replace {{node}}, {{group}} and {{label.NAME}}
}

// Command is a line for /bin/sh.
type Command struct {
	Run     string   `json:"run"`
	Timeout Duration `json:"timeout"`
}

// Requires is what a host must be; all that is given must hold.
type Requires struct {
	// Arch lists the architectures as Go names them, such as "amd64".
	Arch []string `json:"arch,omitempty"`
	// Labels and OSRelease list, for a label and for a variable of os-release(5),
	// the values of which the host must have one.
	Labels    map[string][]string `json:"labels,omitempty"`
	OSRelease map[string][]string `json:"os_release,omitempty"`
}

// Probe is one health check: exactly one of Command, HTTP, TCP and Unit is set.
type Probe struct {
	Command string   `json:"command,omitempty"` // a line for /bin/sh; exit status 0 is healthy
	HTTP    string   `json:"http,omitempty"`    // a URL; a status from 200 to 299 is healthy
	TCP     string   `json:"tcp,omitempty"`     // host:port; a connection is healthy
	Unit    string   `json:"unit,omitempty"`    // a systemd unit; active is healthy
	Timeout Duration `json:"timeout"`
}

// String names the probe.
func (p Probe) String() string {
	switch {
	case p.HTTP != "":
		return "http " + p.HTTP
	case p.TCP != "":
		return "tcp " + p.TCP
	case p.Unit != "":
		return "unit " + p.Unit
	}
	return fmt.Sprintf("command %q", p.Command)
}

// Greatest is the greatest interrupt that a file of the bundle asks for.
func (m *Manifest) Greatest() Interrupt {
	g := InterruptNone
	for _, f := range m.Files {
		g = g.Max(f.Interrupt)
	}
	return g
}

// Interrupt is what a changed file asks of the host.
type Interrupt string

// The interrupts that are carried out, from least to greatest.
const (
	InterruptNone       Interrupt = "none"
	InterruptReload     Interrupt = "reload"      // of the file's units
	InterruptRestart    Interrupt = "restart"     // of the file's units
	InterruptSoftReboot Interrupt = "soft-reboot" // of all but the kernel; a reboot where the host has none
	InterruptReboot     Interrupt = "reboot"
)

// Interrupts lists them from least to greatest.
var Interrupts = []Interrupt{InterruptNone, InterruptReload, InterruptRestart, InterruptSoftReboot, InterruptReboot}

// OfUnits reports an interrupt of single units, not of the host.
func (i Interrupt) OfUnits() bool { return i == InterruptReload || i == InterruptRestart }

// interruptNames lists them for messages.
func interruptNames() string {
	names := make([]string, 0, len(Interrupts))
	for _, i := range Interrupts {
		names = append(names, string(i))
	}
	return strings.Join(names, ", ")
}

func (i Interrupt) rank() int {
	for n, x := range Interrupts {
		if x == i {
			return n
		}
	}
	return -1
}

// Max is the greater of the two.
func (i Interrupt) Max(j Interrupt) Interrupt {
	if j.rank() > i.rank() {
		return j
	}
	return i
}

// Duration is a time.Duration written as text ("1m30s").
type Duration time.Duration

// MarshalText writes the text of time.Duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads the text of time.Duration; it must not be negative.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 {
		return fmt.Errorf("%q: want a duration such as 90s or 5m", b)
	}
	*d = Duration(v)
	return nil
}

func (d Duration) String() string { return time.Duration(d).String() }
