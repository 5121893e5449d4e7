package main

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// benchReport is what a scenario prints: with -o json, as it is.
type benchReport struct {
	Scenario  string     `json:"scenario"`
	At        time.Time  `json:"at"`
	CPUs      int        `json:"cpus"` // of the machine that made the load
	Version   string     `json:"version"`
	GoVersion string     `json:"go_version"`
	Runs      []benchRow `json:"runs"`
	Notes     []string   `json:"notes,omitempty"`
}

// benchRow is one measurement with its yardstick.
type benchRow struct {
	Clients  int           `json:"clients,omitempty"`
	Waiting  int           `json:"waiting,omitempty"`
	Holds    int           `json:"holds,omitempty"`
	Callers  int           `json:"callers,omitempty"` // of commits, beside the clients
	Agents   int           `json:"agents,omitempty"`
	Measured api.Measured  `json:"measured,omitzero"`
	Raw      *api.Measured `json:"raw_puts,omitempty"`
	Rested   *api.Measured `json:"rested_puts,omitempty"` // the caller of which rests as long as a slot is kept

	Idle     *serverCost  `json:"idle,omitempty"`
	Makespan *makespan    `json:"makespan,omitempty"`
	Rollout  *rolloutCost `json:"rollout,omitempty"`
	Writes   *int64       `json:"writes,omitempty"` // revisions of the store that came about meanwhile
}

// serverCost is what the coordinator's process costs.
type serverCost struct {
	Seconds float64 `json:"seconds"`
	RSS     int64   `json:"rss"`             // bytes
	CPU     float64 `json:"cpu"`             // of one processor, 1 is all of it
	Polls   int64   `json:"polls,omitempty"` // of agents that were answered meanwhile
}

// makespan is how long it took until every host was done.
type makespan struct {
	Hosts   int     `json:"hosts"`
	Slots   int     `json:"slots"`
	Hold    float64 `json:"hold_s"`
	Ideal   float64 `json:"ideal_s"`
	Seconds float64 `json:"seconds"`
	Ratio   float64 `json:"ratio"`
}

// set takes over what was measured, and its yardstick.
func (b *benchRow) set(rec, raw *recorder) {
	m := raw.measured()
	b.Measured, b.Raw = rec.measured(), &m
}

func (r *benchReport) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func (r *benchReport) tables(a *app) error {
	heading := []string{"CLIENTS", "COUNT", "PER SECOND", "P50", "P99", "P99.9", "MAX", "RAW PER SECOND", "RAW P50", "RAW P99", "RATE/RAW", "P50/RAW", "P99/RAW"}
	first := func(b benchRow) string { return strconv.Itoa(b.Clients) }
	switch r.Runs[0].what() {
	case "waiting":
		heading[0], first = "WAITING", func(b benchRow) string { return strconv.Itoa(b.Waiting) }
	case "holds":
		heading[0], first = "HOLDS", func(b benchRow) string { return strconv.Itoa(b.Holds) }
	}
	var rows, extra [][]string
	var extraHeading []string
	switch {
	case r.Runs[0].Callers > 0:
		return cli.Table(a.out, append([]string{"CALLERS", "BESIDE CLIENTS"}, heading[1:7]...), commitRows(r.Runs))
	case r.Runs[0].Rollout != nil:
		return cli.Table(a.out, []string{"AGENTS", "WAVES", "SLOTS", "HOLD", "IDEAL", "TOOK", "TOOK/IDEAL", "SERVER CPU", "SERVER RSS", "EVENTS/S", "REQUESTS/S"}, rolloutRows(r.Runs))
	case r.Runs[0].Agents > 0:
		return cli.Table(a.out, []string{"AGENTS", "SERVER RSS", "CPU", "WATCHED FOR", "POLLS ANSWERED"}, agentRows(r.Runs))
	}
	for _, b := range r.Runs {
		rows = append(rows, append([]string{first(b)}, b.cells()...))
		h, cells := b.extra()
		if cells != nil {
			extraHeading = append([]string{heading[0]}, h...)
			extra = append(extra, append([]string{first(b)}, cells...))
		}
	}
	if err := cli.Table(a.out, heading, rows); err != nil {
		return err
	}
	if extra != nil {
		fmt.Fprintln(a.out)
		if err := cli.Table(a.out, extraHeading, extra); err != nil {
			return err
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintln(a.out, "\n"+n)
	}
	return nil
}

func (b benchRow) what() string {
	switch {
	case b.Waiting > 0:
		return "waiting"
	case b.Holds > 0:
		return "holds"
	}
	return "clients"
}

func commitRows(runs []benchRow) (rows [][]string) {
	for _, b := range runs {
		rows = append(rows, append([]string{strconv.Itoa(b.Callers), strconv.Itoa(b.Clients)}, times(b.Measured)...))
	}
	return rows
}

func agentRows(runs []benchRow) (rows [][]string) {
	for _, b := range runs {
		rows = append(rows, append(append([]string{strconv.Itoa(b.Agents)}, b.Idle.cells()...), strconv.FormatInt(b.Idle.Polls, 10)))
	}
	return rows
}

func (c *serverCost) cells() []string {
	return []string{cli.Bytes(c.RSS), fmt.Sprintf("%.1f %%", 100*c.CPU), fmt.Sprintf("%.0f s", c.Seconds)}
}

func times(m api.Measured) []string {
	return []string{strconv.FormatInt(m.Count, 10), rate(m.Rate), micro(m.P50), micro(m.P99), micro(m.P999), micro(m.Max)}
}

func (b benchRow) cells() []string {
	m := b.Measured
	cells := times(m)
	if b.Raw == nil {
		return append(cells, "-", "-", "-", "-", "-", "-")
	}
	return append(cells, rate(b.Raw.Rate), micro(b.Raw.P50), micro(b.Raw.P99),
		ratio(m.Rate, b.Raw.Rate), ratio(float64(m.P50), float64(b.Raw.P50)), ratio(float64(m.P99), float64(b.Raw.P99)))
}

// extra is what only some scenarios have.
func (b benchRow) extra() (heading, cells []string) {
	switch {
	case b.Rested != nil:
		heading = []string{"RESTED PUT P50", "P99", "P50/RESTED", "P99/RESTED"}
		cells = []string{micro(b.Rested.P50), micro(b.Rested.P99), ratio(float64(b.Measured.P50), float64(b.Rested.P50)), ratio(float64(b.Measured.P99), float64(b.Rested.P99))}
		if b.Idle == nil {
			return heading, cells
		}
		return append(heading, "SERVER RSS", "IDLE CPU", "WATCHED FOR"), append(cells, b.Idle.cells()...)
	case b.Makespan != nil:
		s := b.Makespan
		return []string{"SLOTS", "HOLD", "IDEAL", "TOOK", "TOOK/IDEAL"},
			[]string{strconv.Itoa(s.Slots), fmt.Sprintf("%.3f s", s.Hold), fmt.Sprintf("%.3f s", s.Ideal), fmt.Sprintf("%.3f s", s.Seconds), fmt.Sprintf("%.3f", s.Ratio)}
	case b.Writes != nil:
		return []string{"REVISIONS MADE"}, []string{strconv.FormatInt(*b.Writes, 10)}
	}
	return nil, nil
}

func rate(r float64) string {
	if r < 10 {
		return fmt.Sprintf("%.1f", r)
	}
	return fmt.Sprintf("%.0f", r)
}

func micro(us int64) string { return fmt.Sprintf("%.2f ms", float64(us)/1000) }

func ratio(a, b float64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// recorder gathers durations of many clients, over several spans of time.
type recorder struct {
	mu   sync.Mutex
	hist *hdr.Histogram // of microseconds
	took time.Duration
}

func newRecorder() *recorder {
	return &recorder{hist: hdr.New(1, time.Hour.Microseconds(), 3)}
}

func (r *recorder) add(d time.Duration) {
	us := min(max(d.Microseconds(), 1), time.Hour.Microseconds())
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.hist.RecordValue(us) // within its bounds
}

// over says that a span of time has been measured.
func (r *recorder) over(span time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.took += span
}

// merge adds what a coordinator has measured.
func (r *recorder) merge(m api.Measured) error {
	h, err := hdr.Decode([]byte(m.Histogram))
	if err != nil {
		return fmt.Errorf("the coordinator's histogram of raw puts: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.took += time.Duration(m.Seconds * float64(time.Second))
	if lost := r.hist.Merge(h); lost > 0 {
		return fmt.Errorf("%d raw puts took longer than %s", lost, time.Hour)
	}
	return nil
}

func (r *recorder) measured() api.Measured {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.hist
	m := api.Measured{
		Count: h.TotalCount(), Seconds: r.took.Seconds(),
		P50: h.ValueAtQuantile(50), P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9), Max: h.Max(),
	}
	if r.took > 0 {
		m.Rate = float64(m.Count) / r.took.Seconds()
	}
	return m
}
