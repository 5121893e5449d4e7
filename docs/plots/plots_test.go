package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlots_AreWholeSVGWithEveryLine(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cycles := write("cycles.json", `{"scenario":"cycles","runs":[
		{"clients":1,"measured":{"rate":200,"p50_us":900,"p99_us":2000},"raw_puts":{"rate":800,"p50_us":300,"p99_us":900}},
		{"clients":64,"measured":{"rate":4000,"p50_us":9000,"p99_us":20000},"raw_puts":{"rate":16000,"p50_us":3000,"p99_us":9000}}]}`)
	waiters := write("waiters.json", `{"scenario":"waiters","runs":[
		{"waiting":10,"measured":{"p50_us":900,"p99_us":2000},"raw_puts":{"p50_us":300,"p99_us":900},"idle":{"rss":60000000,"cpu":0.004}},
		{"waiting":1000,"measured":{"p50_us":950,"p99_us":2500},"raw_puts":{"p50_us":300,"p99_us":900},"idle":{"rss":90000000,"cpu":0.01}}]}`)
	if err := run(cycles, waiters, dir); err != nil {
		t.Fatal(err)
	}
	for name, lines := range map[string]int{"performance-clients.svg": 6, "performance-waiters.svg": 6} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(string(text), "<polyline"); got != lines {
			t.Errorf("%s has %d lines, want %d", name, got, lines)
		}
		for _, bad := range []string{"NaN", "Inf"} {
			if strings.Contains(string(text), bad) {
				t.Errorf("%s has %s in it", name, bad)
			}
		}
		for d := xml.NewDecoder(strings.NewReader(string(text))); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	if err := run(waiters, cycles, dir); err == nil || !strings.Contains(err.Error(), "want what `lockkeeper bench cycles -o json` printed") {
		t.Errorf("the wrong way round: %v", err)
	}
	if err := run(write("broken.json", "{"), waiters, dir); err == nil {
		t.Error("broken JSON was drawn")
	}
}
