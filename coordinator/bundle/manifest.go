package bundle

import (
	"fmt"
	"time"
)

// Bounds of a bundle.
const (
	MaxSize  = 1 << 20 // bytes of the whole file; the store takes no more
	MaxFiles = 1000
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
	V     int    `json:"v"`
	Name  string `json:"name"`
	Files []File `json:"files"` // in the order of their paths
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

// Probe is one health check: exactly one of Command, HTTP and TCP is set.
type Probe struct {
	Command string   `json:"command,omitempty"` // a line for /bin/sh; exit status 0 is healthy
	HTTP    string   `json:"http,omitempty"`    // a URL; a status from 200 to 299 is healthy
	TCP     string   `json:"tcp,omitempty"`     // host:port; a connection is healthy
	Timeout Duration `json:"timeout"`
}

// String names the probe.
func (p Probe) String() string {
	switch {
	case p.HTTP != "":
		return "http " + p.HTTP
	case p.TCP != "":
		return "tcp " + p.TCP
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
	InterruptNone    Interrupt = "none"
	InterruptReload  Interrupt = "reload"  // systemctl reload of the file's units
	InterruptRestart Interrupt = "restart" // systemctl restart of the file's units
	InterruptReboot  Interrupt = "reboot"
)

// Interrupts lists them from least to greatest.
var Interrupts = []Interrupt{InterruptNone, InterruptReload, InterruptRestart, InterruptReboot}

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
