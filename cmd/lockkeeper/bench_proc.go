package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// cost is what a process has used up to now.
type cost struct {
	at  time.Time
	cpu time.Duration
	rss int64 // bytes
}

// checkWatch wants a coordinator's process that can be watched for so long.
func (f *benchFlags) checkWatch(idle time.Duration) error {
	if idle < time.Second || idle > time.Hour {
		return usagef("--idle %s: want 1s to 1h", idle)
	}
	if f.pid != 0 {
		if _, err := procCost(f.pid); err != nil {
			return usagef("--pid %d: %w", f.pid, err)
		}
	}
	return nil
}

// watchIdle looks at the coordinator's process twice.
func (r *benchRun) watchIdle(ctx context.Context, d time.Duration) (*serverCost, error) {
	r.progress("watching the coordinator for %s", d)
	// What getting there left to do, such as collecting garbage, is not idling.
	pause(ctx, min(2*time.Second, d/2))
	before, err := r.serverCost(ctx)
	if err != nil {
		return nil, err
	}
	pause(ctx, d)
	after, err := r.serverCost(ctx)
	if err != nil {
		return nil, err
	}
	span := after.at.Sub(before.at)
	return &serverCost{Seconds: span.Seconds(), RSS: after.rss, CPU: (after.cpu - before.cpu).Seconds() / span.Seconds()}, nil
}

func (r *benchRun) serverCost(ctx context.Context) (cost, error) {
	if r.pid != 0 {
		return procCost(r.pid)
	}
	text, err := r.c.Metrics(ctx)
	if err != nil {
		return cost{}, err
	}
	cpu, err := sample(text, "process_cpu_seconds_total")
	if err != nil {
		return cost{}, err
	}
	rss, err := sample(text, "process_resident_memory_bytes")
	return cost{at: time.Now(), cpu: time.Duration(cpu * float64(time.Second)), rss: int64(rss)}, err
}

// sample reads a metric that has no labels.
func sample(text []byte, name string) (float64, error) {
	for line := range bytes.Lines(text) {
		if value, found := bytes.CutPrefix(line, []byte(name+" ")); found {
			return strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
		}
	}
	return 0, fmt.Errorf("the coordinator's metrics have no %s: give its process by --pid", name)
}

// userHZ is the unit of /proc/PID/stat, the same on every Linux.
const userHZ = 100

// procCost reads /proc (proc_pid_stat(5), proc_pid_statm(5)).
func procCost(pid int) (cost, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return cost{}, fmt.Errorf("there is no such process here, or no /proc: %w", err)
	}
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return cost{}, err
	}
	// The name, in parentheses, may hold anything.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields, pages := strings.Fields(rest), strings.Fields(string(statm))
	if len(fields) < 13 || len(pages) < 2 {
		return cost{}, errors.New("/proc is not as expected")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	resident, err3 := strconv.ParseInt(pages[1], 10, 64)
	return cost{
		at: time.Now(), cpu: time.Duration(user+system) * time.Second / userHZ, rss: resident * int64(os.Getpagesize()),
	}, errors.Join(err1, err2, err3)
}
