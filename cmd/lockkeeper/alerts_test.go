package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Many series are there only while there is something to tell, so the alerts are
// held against the page of metrics, which is held against the programs.
func TestAlerts_AskOnlyForMetricsThatThereAre(t *testing.T) {
	rules, err := os.ReadFile("../../deploy/prometheus/lockkeeper.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	exist := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(lockkeeper_[a-z0-9_]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		exist[row[1]] = true
	}
	found := 0
	for _, name := range regexp.MustCompile(`[a-z0-9_:]*lockkeeper_[a-z0-9_:]+`).FindAllString(string(rules), -1) {
		if strings.Contains(name, ":") {
			continue // made by a rule
		}
		found++
		if plain := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, ""); !exist[name] && !exist[plain] {
			t.Errorf("there is no metric %s", name)
		}
	}
	if found == 0 {
		t.Fatal("the rules name no metric")
	}
}
