package web

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func TestMap_ByBundleShowsWhoHasWhichAndCountsIt(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 11, n, 0, 0, 0, 0, time.UTC) }
	stored := []api.Bundle{{Digest: "aa", Name: "base", Version: "1", CreatedAt: day(1), Nodes: 40}, {Digest: "bb", Name: "base", Version: "2", CreatedAt: day(2), Nodes: 5}, {Digest: "cc", Name: "never", CreatedAt: day(3)}}
	var nodes []api.Node
	for i := range 50 {
		n := api.Node{ID: fmt.Sprintf("w-%02d", i), Group: "web", Report: api.Report{Bundle: "aa"}}
		switch {
		case i < 5:
			n.Report.Bundle = "bb"
		case i == 11:
			n.Report.Bundle = ""
		case i == 12:
			n.Report.Bundle = "ff" // not stored any more
		}
		nodes = append(nodes, n)
	}
	m := newByBundle(stored)
	tile := newMap(nodes, "", "", m)[0].Tiles[0]
	if tile.Title != "from w-00: 5 base 2, 43 base 1, 1 other bundles, 1 no bundle yet" {
		t.Errorf("the tile is called %q", tile.Title)
	}
	// A run goes to the end of its row, and each pattern is one path.
	for _, want := range []string{`<path fill="url(#bundle-1)" d="M0 0h55v11h-55z"/>`, `<path fill="url(#bundle-0)" d="M55 0h55v11h-55zM0 11h11v11h-11zM33 11h77`, `<path fill="url(#bundle-none)" d="M11 11h11v11h-11z"/>`, `<path fill="url(#bundle-other)" d="M22 11`} {
		if !strings.Contains(string(tile.Marks), want) {
			t.Errorf("no %s in %s", want, tile.Marks)
		}
	}
	if tile.URL != "?group=web&sort=id&by=bundle" {
		t.Errorf("the tile leads to %s", tile.URL)
	}
	var legend []string
	for _, k := range m.keys(nodes, "web") {
		legend = append(legend, fmt.Sprintf("%s %s %d %s", k.Pattern, k.Word, k.Count, k.URL))
	}
	if got := strings.Join(legend, "|"); got != "bundle-1 base 2 5 /nodes?by=bundle&bundle=bb&group=web|bundle-0 base 1 43 /nodes?by=bundle&bundle=aa&group=web|bundle-other other bundles 1 |bundle-none no bundle yet 1 " {
		t.Errorf("legend %s", got)
	}
}

// A picture that somebody has learnt to read stays as it is when a rollout begins.
func TestMap_ABundleKeepsItsPatternWhenANewerOneCame(t *testing.T) {
	var stored []api.Bundle
	var before map[string]string
	for i := range 40 {
		stored = append(stored, api.Bundle{Digest: fmt.Sprint("d", i), Name: "base", CreatedAt: time.Unix(int64(i), 0), Nodes: 1})
		m := newByBundle(stored)
		seen := map[string]bool{}
		for digest, p := range m.pattern {
			if old, had := before[digest]; had && old != p {
				t.Fatalf("with %d bundles %s went from %s to %s", i+1, digest, old, p)
			}
			if seen[p] {
				t.Fatalf("with %d bundles two have %s", i+1, p)
			}
			seen[p] = true
		}
		if len(seen) != min(i+1, bundlePatterns) {
			t.Fatalf("with %d bundles %d have a pattern", i+1, len(seen))
		}
		before = m.pattern
	}
}

func TestMap_ByBundleAMarkForSeveralShowsWhoIsFurthestBehind(t *testing.T) {
	m := newByBundle([]api.Bundle{{Digest: "old", CreatedAt: time.Unix(1, 0), Nodes: 1}, {Digest: "new", CreatedAt: time.Unix(2, 0), Nodes: 1}})
	has := func(digest string) *api.Node { return &api.Node{ID: digest, Report: api.Report{Bundle: digest}} }
	for _, c := range []struct{ a, b, want string }{{"new", "old", "old"}, {"old", "new", "old"}, {"old", "", ""}, {"gone", "new", "gone"}} {
		if got := m.stands(has(c.a), has(c.b)); got.ID != c.want {
			t.Errorf("%q and %q are shown as %q, want %q", c.a, c.b, got.ID, c.want)
		}
	}
}
