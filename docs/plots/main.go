// Command plots draws the figures of docs/performance.md from what
// `lockkeeper bench … -o json` printed:
//
//	go run ./docs/plots -cycles cycles.json -waiters waiters.json -out docs/images
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	cycles := flag.String("cycles", "", "JSON of `lockkeeper bench cycles`")
	waiters := flag.String("waiters", "", "JSON of `lockkeeper bench waiters`")
	out := flag.String("out", ".", "folder for the SVG files")
	flag.Parse()
	if err := run(*cycles, *waiters, *out); err != nil {
		fmt.Fprintln(os.Stderr, "plots:", err)
		os.Exit(1)
	}
}

// report is the part of a benchmark's JSON that is drawn.
type report struct {
	Scenario string `json:"scenario"`
	Runs     []struct {
		Clients  int      `json:"clients"`
		Waiting  int      `json:"waiting"`
		Measured measured `json:"measured"`
		Raw      measured `json:"raw_puts"`
		Idle     struct {
			RSS float64 `json:"rss"`
			CPU float64 `json:"cpu"`
		} `json:"idle"`
	} `json:"runs"`
}

type measured struct {
	Rate float64 `json:"rate"`
	P50  float64 `json:"p50_us"`
	P99  float64 `json:"p99_us"`
}

func run(cycles, waiters, out string) error {
	c, err := read(cycles, "cycles")
	if err != nil {
		return err
	}
	w, err := read(waiters, "waiters")
	if err != nil {
		return err
	}
	throughput := chart{Title: "Changes per second", X: "clients", Y: "per second, both fsynced", Log: true}
	latency := chart{Title: "Time of a cycle and of a raw put", X: "clients", Y: "ms", Log: true}
	for _, r := range c.Runs {
		x := float64(r.Clients)
		throughput.add("raw puts", x, r.Raw.Rate)
		throughput.add("acquire + release cycles", x, r.Measured.Rate)
		latency.add("raw put, p50", x, r.Raw.P50/1000)
		latency.add("raw put, p99", x, r.Raw.P99/1000)
		latency.add("cycle, p50", x, r.Measured.P50/1000)
		latency.add("cycle, p99", x, r.Measured.P99/1000)
	}
	memory := chart{Title: "Memory of the coordinator", X: "parked waiters", Y: "MB resident"}
	cpu := chart{Title: "Processor while nothing happens", X: "parked waiters", Y: "% of one core"}
	handover := chart{Title: "Handover among them", X: "parked waiters", Y: "ms", Log: true}
	for _, r := range w.Runs {
		x := float64(r.Waiting)
		memory.add("coordinator", x, r.Idle.RSS/1e6)
		cpu.add("coordinator", x, 100*r.Idle.CPU)
		handover.add("handover, p50", x, r.Measured.P50/1000)
		handover.add("handover, p99", x, r.Measured.P99/1000)
		handover.add("raw put, p50", x, r.Raw.P50/1000)
		handover.add("raw put, p99", x, r.Raw.P99/1000)
	}
	for name, charts := range map[string][]chart{
		"performance-clients.svg": {throughput, latency}, "performance-waiters.svg": {memory, cpu, handover},
	} {
		if err := os.WriteFile(filepath.Join(out, name), draw(charts...), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func read(path, scenario string) (report, error) {
	var r report
	text, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("-%s: %w", scenario, err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	if r.Scenario != scenario || len(r.Runs) < 2 {
		return r, fmt.Errorf("%s: want what `lockkeeper bench %s -o json` printed, with at least two runs; its scenario is %q with %d", path, scenario, r.Scenario, len(r.Runs))
	}
	return r, nil
}
