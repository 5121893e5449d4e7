package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/lockkeeper/lockkeeper/agent"
	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// metricsEvery is how often the textfile is written while nothing changes. Its
// time of change shows that the agent lives.
const metricsEvery = time.Minute

var allPhases = []api.Phase{
	api.PhaseIdle, api.PhaseWaiting, api.PhaseHolding, api.PhaseDraining, api.PhaseApplying, api.PhaseRebooting,
	api.PhaseVerifying, api.PhaseReleasing, api.PhaseFailed,
}

// exposition writes Prometheus' text format, one family after another.
type exposition struct{ bytes.Buffer }

func (e *exposition) family(name, kind, help string) {
	fmt.Fprintf(e, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// sample writes one value; labels are names and values in turn.
func (e *exposition) sample(name string, value float64, labels ...string) {
	e.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		e.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
		fmt.Fprintf(e, `%s="%s"`, labels[i], escape.Replace(labels[i+1]))
	}
	if len(labels) > 0 {
		e.WriteString("}")
	}
	fmt.Fprintf(e, " %v\n", value)
}

func (e *exposition) gauge(name, help string, value float64) {
	e.family(name, "gauge", help)
	e.sample(name, value)
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// metrics is what docs/metrics.md describes.
func metrics(s agent.Stats) []byte {
	var e exposition
	e.family("lockkeeper_agent_info", "gauge", "Version and group of the agent; always 1.")
	e.sample("lockkeeper_agent_info", 1, "version", cli.Version(), "group", s.Group)
	e.family("lockkeeper_agent_phase", "gauge", "1 for the phase that the agent is in: idle, waiting, holding, draining, applying, rebooting, verifying, releasing, failed.")
	for _, p := range allPhases {
		e.sample("lockkeeper_agent_phase", flag(p == s.Phase), "phase", string(p))
	}
	e.gauge("lockkeeper_agent_phase_start_timestamp_seconds", "When the phase began, or the agent in it.", seconds(s.PhaseSince))
	e.gauge("lockkeeper_agent_holds_slot", "1 while the host holds a slot.", flag(s.Holds))
	e.gauge("lockkeeper_agent_healthy", "0 while the host is not healthy after a bundle or reboot.", flag(s.Healthy))
	e.gauge("lockkeeper_agent_failed", "1 while the bundle or reboot that was tried last has failed.", flag(s.Failed))
	e.gauge("lockkeeper_agent_reboot_needed", "1 while the host asks for a reboot.", flag(s.NeedsReboot))
	e.gauge("lockkeeper_agent_reboot_need_unknown", "1 while the command that says so gives no answer.", flag(s.NeedUnclear))
	e.gauge("lockkeeper_agent_last_answer_timestamp_seconds", "When a coordinator last answered; 0 before the first answer.", seconds(s.LastAnswer))
	e.family("lockkeeper_agent_polls_total", "counter", "Polls of a coordinator, by how they ended: answered, failed.")
	for _, result := range []string{"answered", "failed"} {
		e.sample("lockkeeper_agent_polls_total", float64(s.Polls[result]), "result", result)
	}
	e.family("lockkeeper_agent_acts_total", "counter", "Acts of the agent, such as drain, apply and reboot, by how they ended: done, failed, unknown, which is tried again.")
	order := func(x, y agent.ActResult) int {
		return strings.Compare(string(x.Do)+" "+string(x.Status), string(y.Do)+" "+string(y.Status))
	}
	for _, k := range slices.SortedFunc(maps.Keys(s.Acts), order) {
		e.sample("lockkeeper_agent_acts_total", float64(s.Acts[k]), "act", string(k.Do), "result", string(k.Status))
	}
	return e.Bytes()
}

func serveMetrics(stats func() agent.Stats) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(metrics(stats())) // who asked has gone
	}
}

// writeMetrics writes the textfile at each change, and each metricsEvery, until
// ctx ends. It says once that it cannot, and goes on.
func writeMetrics(ctx context.Context, file string, changed <-chan struct{}, stats func() agent.Stats, complain func(error)) {
	tick := time.NewTicker(metricsEvery)
	defer tick.Stop()
	failed := false
	for {
		// No reader may see half of it, and nobody needs it after a crash.
		err := writeWhole(file, metrics(stats()))
		if err != nil && !failed {
			complain(err)
		}
		failed = err != nil
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func writeWhole(file string, text []byte) error {
	f, err := renameio.NewPendingFile(file, renameio.WithTempDir(filepath.Dir(file)), renameio.WithStaticPermissions(0o644))
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }() // it is renamed, or of no use
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// loopback checks the address of the metrics listener: it asks for no
// credentials, so it is for this host only.
func loopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--metrics-listen %q: want HOST:PORT, such as 127.0.0.1:9817", address)
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return fmt.Errorf("--metrics-listen %q: want an address of this host only, such as 127.0.0.1:9817: the metrics are for everybody who can connect", address)
	}
	return nil
}

// localOnly refuses requests that name another host: a page in a browser may
// have been made to ask here.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Host
		if h, _, err := net.SplitHostPort(name); err == nil {
			name = h
		}
		ip, err := netip.ParseAddr(strings.Trim(name, "[]"))
		if name != "localhost" && (err != nil || !ip.IsLoopback()) {
			w.WriteHeader(http.StatusMisdirectedRequest)
			_, _ = io.WriteString(w, "This is for the host itself: ask at localhost or 127.0.0.1.\n")
			return
		}
		next.ServeHTTP(w, r)
	})
}
