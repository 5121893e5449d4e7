package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/agent"
	"github.com/lockkeeper/lockkeeper/agent/host"
	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// hangs is how long the agent may be silent towards the coordinator before the
// watchdog is no longer fed: longer than a long poll and its answer may take.
const hangs = 3 * time.Minute

// metricsOptions say where the agent's metrics go, if anywhere.
type metricsOptions struct{ file, listen string }

// options are the flags of run.
type options struct {
	servers                []string
	node, group            string
	labels                 map[string]string
	bundles                bundleOptions
	paths                  []string
	tokenFile, caFile, pin string
	maxAttempts            int
	rebootWhenRequired     bool
	notYetFor              time.Duration
	waitForUsers           time.Duration
	needCommand            string
	needEvery              time.Duration
	logLevel, logFormat    string
	metrics                metricsOptions
	host                   host.LinuxConfig
}

func newRun() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "run --server URL[,URL…]",
		Short: "Run the agent until it is told to stop",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.config(stateDir(cmd), os.Stderr)
			if err != nil {
				return err
			}
			if err := serve(cmd.Context(), cfg, o.metrics); err != nil {
				return &failure{err}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.servers, "server", nil, "coordinators to ask in turn: http://HOST:PORT, https://HOST:PORT or unix:/PATH")
	f.StringVar(&o.node, "node", "", "id of this host (default: the host name)")
	f.StringVar(&o.group, "group", "default", "group whose slots this host takes")
	f.StringToStringVar(&o.labels, "label", nil, "label of this host as NAME=VALUE, may be repeated")
	o.bundles.flags(f)
	f.StringVar(&o.tokenFile, "token-file", "", "file with this node's token")
	f.StringVar(&o.caFile, "ca-file", "", "PEM file of the authorities that may vouch for a coordinator")
	f.StringVar(&o.pin, "pin", "", "sha256:HEX of the coordinator certificate's public key, as lockkeeperd prints it")
	f.IntVar(&o.maxAttempts, "max-attempts", 2, "attempts for one bundle on this host, at least 1")
	f.BoolVar(&o.rebootWhenRequired, "reboot-when-required", false, "take a slot and reboot when the host asks for a reboot")
	f.StringSliceVar(&o.paths, "allow-path", []string{"/"}, "folders below which a bundle may write, several with commas between; other bundles are refused")
	f.StringVar(&o.needCommand, "reboot-needed-command", "", "line for /bin/sh that says whether the host needs a reboot: exit status 0 yes, with the reason as its output, 1 no, any other is no answer")
	f.DurationVar(&o.needEvery, "reboot-needed-every", 10*time.Minute, "how often that command is asked")
	f.StringVar(&o.metrics.file, "metrics-file", "", "file that Prometheus metrics are written to, for node_exporter's textfile collector: want a name that ends in .prom")
	f.StringVar(&o.metrics.listen, "metrics-listen", "", "loopback address that serves them at /metrics, such as 127.0.0.1:9817")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", "text", "text or json")
	f.StringVar(&o.host.Root, "root", "/", "folder in front of each path of a bundle")
	f.StringVar((*string)(&o.host.RebootMethod), "reboot-method", string(host.RebootAuto), "how the host is asked to reboot: auto, logind, systemctl or command; auto is the command where one is given, else logind, else systemctl")
	f.StringVar(&o.host.RebootCommand, "reboot-command", "", "line for /bin/sh that reboots the host")
	f.DurationVar(&o.host.InhibitFor, "inhibit-wait", 30*time.Minute, "how long a reboot waits for inhibitor locks that block it")
	f.BoolVar(&o.host.InhibitForce, "inhibit-force", false, "reboot after that wait whatever blocks it; otherwise it is given up")
	f.StringVar(&o.host.HooksDir, "hooks-dir", "/etc/lockkeeper/hooks.d", "folder of hooks: for each of drain, pre-apply, pre-reboot, post-reboot and undrain an executable of that name, or a folder of them: exit status 0 done, 75 ask again, any other failed")
	f.DurationVar(&o.notYetFor, "not-yet-for", time.Hour, "how long hooks may ask to be called again (exit status 75) before they count as failed")
	f.DurationVar(&o.waitForUsers, "wait-for-users", 0, "how long the drain waits for people to log out before it goes on; 0 does not wait")
	f.StringVar((*string)(&o.host.SystemHealth), "system-health", string(host.HealthBoot), "what systemd must say of the host for it to be healthy: off, boot (the boot has ended well) or units (and no unit has failed since)")
	f.DurationVar(&o.host.HookTimeout, "hook-timeout", 30*time.Minute, "how long one call of a hook may take")
	f.StringVar(&o.host.RebootRequiredFile, "reboot-required-file", "/run/reboot-required", "file that exists while the host asks for a reboot")
	f.StringVar(&o.host.BootIDFile, "boot-id-file", "/proc/sys/kernel/random/boot_id", "file with the boot id; a testing aid: with --reboot-command a test can play reboots")
	return cmd
}

// config checks the flags and makes what they describe.
func (o *options) config(stateDir string, logTo *os.File) (agent.Config, error) {
	var none agent.Config
	if len(o.servers) == 0 {
		return none, errors.New("--server is missing: want http://HOST:PORT, https://HOST:PORT or unix:/PATH, several with commas between")
	}
	node, err := o.nodeID()
	if err != nil {
		return none, err
	}
	if err := o.bundles.check(); err != nil {
		return none, err
	}
	if o.maxAttempts < 1 {
		return none, errors.New("--max-attempts " + strconv.Itoa(o.maxAttempts) + ": want at least 1")
	}
	for _, dir := range []struct{ flag, path string }{{"root", o.host.Root}, {"state-dir", stateDir}} {
		if !filepath.IsAbs(dir.path) {
			return none, fmt.Errorf("--%s %q: want an absolute path", dir.flag, dir.path)
		}
	}
	if err := o.metrics.check(); err != nil {
		return none, err
	}
	log, err := logger(o.logLevel, o.logFormat, logTo)
	if err != nil {
		return none, err
	}
	if err := o.hostConfig(stateDir, log); err != nil {
		return none, err
	}
	version := cli.Version()
	c, err := client.New(client.Config{
		Servers: o.servers, TokenFile: o.tokenFile, CAFile: o.caFile, Pin: o.pin, UserAgent: "lockkeeper-agent/" + version,
	})
	if err != nil {
		return none, err
	}
	cfg := agent.Config{
		Node: node, Group: o.group, Labels: o.labels, Paths: o.paths, Trust: o.bundles.trust, Downloader: o.bundles.downloader, MaxBundle: o.bundles.maxSize << 20, StateDir: stateDir, Coordinator: c, Host: host.NewLinux(o.host),
		Logger: log, Version: version, MaxAttempts: o.maxAttempts, NotYetFor: o.notYetFor, WaitForUsers: o.waitForUsers, NeedCommand: o.needCommand, NeedEvery: o.needEvery, RebootWhenRequired: o.rebootWhenRequired,
	}
	return cfg, cfg.Check()
}

// hostConfig checks what the flags say of the host, and completes it.
func (o *options) hostConfig(stateDir string, log *slog.Logger) error {
	h := &o.host
	h.Supervised, h.NotesDir, h.Logger = true, stateDir, log
	if !slices.Contains(host.RebootMethods, h.RebootMethod) {
		return fmt.Errorf("--reboot-method %q: want auto, logind, systemctl or command", h.RebootMethod)
	}
	switch given := h.RebootCommand != ""; {
	case h.RebootMethod == host.RebootCommand && !given:
		return errors.New("--reboot-method command: want --reboot-command with the line that reboots the host")
	case given && h.RebootMethod != host.RebootCommand && h.RebootMethod != host.RebootAuto:
		return fmt.Errorf("--reboot-command is not used with --reboot-method %s: want auto or command", h.RebootMethod)
	}
	if !slices.Contains(host.SystemHealths, h.SystemHealth) {
		return fmt.Errorf("--system-health %q: want off, boot or units", h.SystemHealth)
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
		least time.Duration
	}{
		{"hook-timeout", h.HookTimeout, time.Second}, {"not-yet-for", o.notYetFor, time.Second},
		{"reboot-needed-every", o.needEvery, time.Second}, {"inhibit-wait", h.InhibitFor, 0}, {"wait-for-users", o.waitForUsers, 0},
	} {
		if d.value < d.least {
			return fmt.Errorf("--%s %s: want a time such as 30m, at least %s", d.flag, d.value, d.least)
		}
	}
	return nil
}

func (m *metricsOptions) check() error {
	if m.file != "" && (!filepath.IsAbs(m.file) || filepath.Ext(m.file) != ".prom") {
		return fmt.Errorf("--metrics-file %q: want an absolute path that ends in .prom", m.file)
	}
	if m.listen != "" {
		return loopback(m.listen)
	}
	return nil
}

// nodeID is --node, or the host name if that can tell hosts apart.
func (o *options) nodeID() (string, error) {
	if o.node != "" {
		return o.node, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("the host name is not known (%w): give the host's id with --node", err)
	}
	return name, distinct(name)
}

// distinct refuses host names that many hosts have.
func distinct(name string) error {
	switch strings.ToLower(strings.TrimSuffix(name, ".")) {
	case "", "localhost", "localhost.localdomain":
		return fmt.Errorf("the host name is %q, which cannot tell hosts apart: give the host's id with --node", name)
	}
	return nil
}

func logger(level, format string, to *os.File) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(to, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(to, opts)), nil
	}
	return nil, fmt.Errorf("--log-format %q: want text or json", format)
}

// serve runs the agent, tells systemd where that started it, and answers those
// on this host who ask.
func serve(ctx context.Context, cfg agent.Config, m metricsOptions) error {
	changed := make(chan struct{}, 1)
	cfg.Changed = func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	c := control{stop: make(chan struct{})}
	ready := make(chan struct{})
	cfg.Ready = func() {
		failed := func(err error) { cfg.Logger.Error("the agent cannot be asked on this host", "err", err) }
		if err := c.listen(cfg.StateDir, m.listen, failed); err != nil {
			failed(err) // its work goes on
		}
		close(ready)
		notify(cfg.Logger, daemon.SdNotifyReady)
	}
	a := agent.New(cfg)
	c.agent = a
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { feedWatchdog(ctx, cfg.Logger, a.Heard) })
	beside.Go(func() {
		select {
		case <-ready: // there is nothing to tell of before
		case <-ctx.Done():
			return
		}
		if m.file != "" {
			writeMetrics(ctx, m.file, changed, a.Stats, func(err error) { cfg.Logger.Error("the metrics cannot be written", "err", err) })
		}
	})
	defer func() {
		cancel()
		beside.Wait()
	}()
	err := a.Run(ctx)
	notify(cfg.Logger, daemon.SdNotifyStopping)
	select {
	case <-ready:
		c.close()
	default:
	}
	return err
}

func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd was not told", "state", state, "err", err)
	}
}

// feedWatchdog tells systemd that the agent lives, for as long as it does.
func feedWatchdog(ctx context.Context, log *slog.Logger, heard func() time.Time) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog's environment", "err", err)
	}
	if interval <= 0 {
		return
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if at := heard(); at.Unix() <= 0 || time.Since(at) < hangs {
				notify(log, daemon.SdNotifyWatchdog)
			}
		}
	}
}
