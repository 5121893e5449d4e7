package web

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// bundlePatterns is how many bundles have a pattern of their own on the map: the
// newest that some host has. Others share one.
const bundlePatterns = 6

// The patterns of the map by bundle, as they are defined in its page.
const (
	patternOther = "bundle-other"
	patternNone  = "bundle-none"
)

// byBundle marks each host by the bundle that it reports.
type byBundle struct {
	pattern map[string]string // by digest
	rank    map[string]int    // by digest: 0 is the newest
	bundles []api.Bundle      // those with patterns, newest first
}

// bundleKey is one line of the legend.
type bundleKey struct {
	Pattern, Word, Digest, URL string
	Count                      int
}

// newByBundle gives the newest bundles that are in use their patterns. A bundle
// keeps its pattern when a newer one is added, for that goes by how many are older.
func newByBundle(list []api.Bundle) byBundle {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b api.Bundle) int {
		if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.Digest, b.Digest)
	})
	out := byBundle{pattern: map[string]string{}, rank: map[string]int{}}
	older := map[string]int{}
	for i, b := range list {
		out.rank[b.Digest] = i
		older[b.Digest] = len(list) - 1 - i
		if b.Nodes > 0 && len(out.bundles) < bundlePatterns {
			out.bundles = append(out.bundles, b)
		}
	}
	taken := map[int]bool{}
	for _, b := range slices.Backward(out.bundles) {
		i := older[b.Digest] % bundlePatterns
		for taken[i] {
			i = (i + 1) % bundlePatterns
		}
		taken[i] = true
		out.pattern[b.Digest] = fmt.Sprintf("bundle-%d", i)
	}
	return out
}

func (m byBundle) query() string { return "&by=bundle" }

func (m byBundle) patternOf(n *api.Node) string {
	if n.Report.Bundle == "" {
		return patternNone
	}
	if p, ok := m.pattern[n.Report.Bundle]; ok {
		return p
	}
	return patternOther
}

// stands is the host that is further behind: none, else the older bundle.
func (m byBundle) stands(a, b *api.Node) *api.Node {
	behind := func(n *api.Node) int {
		if r, ok := m.rank[n.Report.Bundle]; ok {
			return r
		}
		return len(m.rank) // none, or one that is not stored any more
	}
	if behind(b) > behind(a) {
		return b
	}
	return a
}

func (m byBundle) counts(nodes []*api.Node) map[string]int {
	counts := map[string]int{}
	for _, n := range nodes {
		counts[m.patternOf(n)]++
	}
	return counts
}

func (m byBundle) said(nodes []*api.Node) string {
	counts := m.counts(nodes)
	var said []string
	for _, key := range m.all() {
		if n := counts[key.Pattern]; n > 0 {
			said = append(said, number(int64(n))+" "+key.Word)
		}
	}
	return strings.Join(said, ", ")
}

// all are the lines of a legend, newest bundle first, without counts.
func (m byBundle) all() (out []bundleKey) {
	for _, b := range m.bundles {
		word := b.Name
		if b.Version != "" {
			word += " " + b.Version
		}
		out = append(out, bundleKey{Pattern: m.pattern[b.Digest], Word: word, Digest: b.Digest, URL: "/nodes?by=bundle&bundle=" + b.Digest})
	}
	return append(out, bundleKey{Pattern: patternOther, Word: "other bundles"}, bundleKey{Pattern: patternNone, Word: "no bundle yet"})
}

// keys is the legend of a map of these hosts, or of one group of them: what
// nobody has is left out.
func (m byBundle) keys(nodes []api.Node, group string) (out []bundleKey) {
	counts := map[string]int{}
	for i := range nodes {
		if n := &nodes[i]; group == "" || n.Group == group {
			counts[m.patternOf(n)]++
		}
	}
	for _, key := range m.all() {
		if key.Count = counts[key.Pattern]; key.Count == 0 {
			continue
		}
		if group != "" && key.URL != "" {
			key.URL += "&group=" + queryEscape(group)
		}
		out = append(out, key)
	}
	return out
}

// fillRun adds the rectangles that cover the marks of a run, one for all of its
// whole rows.
func fillRun(path *strings.Builder, from, to int) {
	for from < to {
		rows, length := 1, min(to-from, tileRow-from%tileRow)
		if from%tileRow == 0 && to-from >= tileRow {
			rows = (to - from) / tileRow
		}
		fmt.Fprintf(path, "M%d %dh%dv%dh-%dz", from%tileRow*markPitch, from/tileRow*markPitch, length*markPitch, rows*markPitch, length*markPitch)
		from += rows * length
	}
}

// draw fills runs of hosts that have the same with its pattern, one path for each:
// a fleet between two bundles costs no more than one that is at rest.
func (m byBundle) draw(marks []*api.Node, _ bool) template.HTML {
	by := map[string]*strings.Builder{}
	var order []string
	for from := 0; from < len(marks); {
		p, to := m.patternOf(marks[from]), from+1
		for to < len(marks) && m.patternOf(marks[to]) == p {
			to++
		}
		if by[p] == nil {
			by[p] = &strings.Builder{}
			order = append(order, p)
		}
		fillRun(by[p], from, to)
		from = to
	}
	var out strings.Builder
	for _, p := range order {
		fmt.Fprintf(&out, `<path fill="url(#%s)" d="%s"/>`, p, by[p].String())
	}
	return template.HTML(out.String())
}
