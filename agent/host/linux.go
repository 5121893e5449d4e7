package host

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// LinuxConfig says where things are; a zero value is that of a usual host.
type LinuxConfig struct {
	// Root is put in front of each of a bundle's paths; default "/".
	Root string
	// BootIDFile holds the boot id; default /proc/sys/kernel/random/boot_id.
	// With RebootCommand it lets a test play a reboot with real processes.
	BootIDFile string
	// RebootMethod is how the host is asked to reboot; default auto.
	RebootMethod RebootMethod
	// RebootCommand is the line for /bin/sh of that method.
	RebootCommand string
	// InhibitFor is how long a reboot waits for inhibitor locks to go that block
	// it. InhibitForce reboots then; otherwise it is given up.
	InhibitFor   time.Duration
	InhibitForce bool
	// SystemHealth is what systemd must say of the host for it to be healthy,
	// where systemd runs it; default boot.
	SystemHealth SystemHealth
	// NotesDir is a folder in which the host may keep what it has to remember
	// over a reboot; without one it compares with nothing.
	NotesDir string
	Logger   *slog.Logger // nil: nothing is logged
	// HooksDir holds the hooks: for each HookPoint an executable of that name,
	// or a folder of executables; default /etc/lockkeeper/hooks.d.
	HooksDir string
	// HookTimeout bounds one call of a hook; default 30 min.
	HookTimeout time.Duration
	// RebootRequiredFile exists while the host wants to be rebooted; default
	// /run/reboot-required.
	RebootRequiredFile string
	// Supervised runs hooks, commands and health checks below a process that
	// ends what they leave behind. The program must call Supervise when its
	// first argument is SuperviseArg.
	Supervised bool
}

// Linux is a real host. Its methods are called one after another.
type Linux struct {
	cfg       LinuxConfig
	booted    func() bool   // by systemd
	inhibited time.Duration // Clock of the first reboot that was, 0 for none
}

// NewLinux fills in the defaults.
func NewLinux(cfg LinuxConfig) *Linux {
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&cfg.Root, "/")
	def(&cfg.BootIDFile, "/proc/sys/kernel/random/boot_id")
	if cfg.RebootMethod == "" {
		cfg.RebootMethod = RebootAuto
	}
	if cfg.SystemHealth == "" {
		cfg.SystemHealth = HealthBoot
	}
	def(&cfg.HooksDir, "/etc/lockkeeper/hooks.d")
	def(&cfg.RebootRequiredFile, "/run/reboot-required")
	if cfg.HookTimeout == 0 {
		cfg.HookTimeout = 30 * time.Minute
	}
	return &Linux{cfg: cfg, booted: booted}
}

// BootID reads the kernel's boot id.
func (l *Linux) BootID() (string, error) {
	b, err := os.ReadFile(l.cfg.BootIDFile)
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	id := strings.TrimSpace(string(b))
	if id == "" {
		return "", fmt.Errorf("boot id: %s is empty", l.cfg.BootIDFile)
	}
	return id, nil
}

// Clock is CLOCK_BOOTTIME.
func (l *Linux) Clock() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		// Linux has had this clock since 2.6.39; without it no gate may count.
		panic("CLOCK_BOOTTIME: " + err.Error())
	}
	return time.Duration(ts.Nano())
}

// MachineID is that of the host itself, below any Root.
func (l *Linux) MachineID() string {
	b, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// OS is PRETTY_NAME of os-release.
func (l *Linux) OS() string {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			if u, err := strconv.Unquote(v); err == nil {
				return u
			}
			return strings.Trim(v, `'`)
		}
	}
	return ""
}

// Root is the folder below which a bundle's paths lie.
func (l *Linux) Root() string { return l.cfg.Root }

// Simulated is false: this is a real host.
func (l *Linux) Simulated() bool { return false }

// maxPackages bounds how many packages a reason names.
const maxPackages = 10

// NeedsReboot looks for the file by which packages ask for a reboot, and beside
// it for the one that names them.
func (l *Linux) NeedsReboot() (why string, needs bool) {
	if _, err := os.Stat(l.cfg.RebootRequiredFile); err != nil {
		return "", false
	}
	b, err := os.ReadFile(l.cfg.RebootRequiredFile + ".pkgs")
	if err != nil {
		return "", true
	}
	names := strings.Fields(strings.ToValidUTF8(string(b), "\uFFFD"))
	slices.Sort(names)
	names = slices.Compact(names)
	if more := len(names) - maxPackages; more > 0 {
		names = append(names[:maxPackages], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", "), true
}

// Drain notes how the host was before, and runs the drain hooks.
func (l *Linux) Drain(ctx context.Context, env []string) error {
	if err := l.noteBefore(ctx); err != nil {
		return err
	}
	return l.Hook(ctx, HookDrain, env)
}

// Undrain runs the undrain hooks, and forgets how the host was before.
func (l *Linux) Undrain(ctx context.Context, env []string) error {
	if err := l.Hook(ctx, HookUndrain, env); err != nil {
		return err
	}
	l.inhibited = 0
	return l.forgetBefore()
}

// Run runs a line with /bin/sh.
func (l *Linux) Run(ctx context.Context, c Command) (string, error) {
	return l.run(ctx, c.Timeout, c.Env, "/bin/sh", "-c", c.Line)
}

// failed says what failed and the end of what it printed.
func failed(what, out string, err error) error {
	switch {
	case err == nil:
		return nil
	case out == "":
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %s", what, err, out)
}
