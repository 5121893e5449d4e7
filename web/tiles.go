package web

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// The fleet as a density grid: a mark for each host, a tile of them for every 50.
const (
	tileMarks  = 50
	tileRow    = 10
	markPitch  = 11
	mapMarks   = 10_000 // with more hosts a mark stands for several, and shows the worst
	namedMarks = 60     // up to so many marks of a map have a name each
)

// mapGroup is the tiles of one group.
type mapGroup struct {
	Name  string
	Nodes int
	Tiles []tile
}

// tile is up to tileMarks marks, in the order of ids.
type tile struct {
	ID, URL, Title string
	Current        bool
	Width, Height  int
	Marks          template.HTML
	Named          bool // some marks are: they must not become the tile's name
}

// markShapes draw a state in a square of 11 units, by steps from its corner. What is idle is drawn
// otherwise, as the dashes of a line.
var markShapes = map[api.NodeState]struct{ class, path string }{
	api.NodeWaiting:     {"g-wait", "m1.5 1.5h8v8h-8zm1.5 1.5v5h5v-5z"},
	api.NodeOut:         {"g-busy", "m1 1h9v9h-9z"},
	api.NodeFailed:      {"g-bad", "m1 3l2-2 2.5 2.5 2.5-2.5 2 2-2.5 2.5 2.5 2.5-2 2-2.5-2.5-2.5 2.5-2-2 2.5-2.5z"},
	api.NodeOverdue:     {"g-warn", "m5.5.6l5 9.4h-10z"},
	api.NodeUnreachable: {"g-lost", "m5.5.3l5.2 5.2-5.2 5.2-5.2-5.2zm0 2.9l-2.3 2.3 2.3 2.3 2.3-2.3z"},
	api.NodeDuplicate:   {"g-warn", "m1 1h5v5h-5zm4 4h5v5h-5z"},
	nodeDrifted:         {"g-drift", "m1 1h9l-9 9z"},
}

// nodeDrifted is how an idle node is marked that has not what it was brought to.
const nodeDrifted api.NodeState = "drifted"

// mapLegend are the states in the order of the legend.
var mapLegend = []api.NodeState{api.NodeIdle, api.NodeWaiting, api.NodeOut, api.NodeFailed, api.NodeOverdue, api.NodeUnreachable, api.NodeDuplicate, nodeDrifted}

// mapStates are the same, most urgent first.
var mapStates = slices.Insert(slices.Clone(api.NodeStates), slices.Index(api.NodeStates, api.NodeIdle), nodeDrifted)

// markOf is what a node is marked as.
func markOf(n *api.Node) api.NodeState {
	if n.State == api.NodeIdle && n.Drift != nil {
		return nodeDrifted
	}
	return n.State
}

// statePatterns are the shapes as patterns, by which many marks are short: a square
// says where, and the pattern what. It covers the idle mark that is drawn below.
func statePatterns() template.HTML {
	var out strings.Builder
	for _, s := range mapLegend {
		if shape, ok := markShapes[s]; ok {
			fmt.Fprintf(&out, `<pattern id="state-%s" class="%s" width="%d" height="%[3]d" patternUnits="userSpaceOnUse"><path class="g-under" d="M0 0h11v11H0z"/><path d="M0 0%s"/></pattern>`, s, shape.class, markPitch, shape.path)
		}
	}
	out.WriteString(`<path id="idle-tile" class="g-line" d="M2.5 5.5h105M2.5 16.5h105M2.5 27.5h105M2.5 38.5h105M2.5 49.5h105"/>`)
	return template.HTML(out.String())
}

// legendMark draws a state for the legend.
func legendMark(s api.NodeState) template.HTML {
	if s == api.NodeIdle {
		return `<path class="g-line" d="M2.5 5.5h6"/>`
	}
	shape := markShapes[s]
	return template.HTML(fmt.Sprintf(`<path class="%s" d="M0 0%s"/>`, shape.class, shape.path))
}

// painter draws the hosts of a tile.
type painter interface {
	// stands is which of two hosts is shown where a mark stands for both.
	stands(a, b *api.Node) *api.Node
	// said tells of a tile's hosts in words.
	said(nodes []*api.Node) string
	// draw draws the marks, in rows from the left; named if each may have a name.
	draw(marks []*api.Node, named bool) template.HTML
	// query chooses this painter in the address of a page.
	query() string
}

// newMap deals the nodes out to their groups' tiles; those of one group if it is
// named. The nodes are in the order of ids.
func newMap(nodes []api.Node, group, after string, paint painter) []mapGroup {
	by := map[string][]*api.Node{}
	total, told := 0, 0
	for i := range nodes {
		if n := &nodes[i]; group == "" || n.Group == group {
			by[n.Group] = append(by[n.Group], n)
			total++
			if markOf(n) != api.NodeIdle {
				told++
			}
		}
	}
	per := max(1, (total+mapMarks-1)/mapMarks)
	var out []mapGroup
	for name, list := range by {
		out = append(out, mapGroup{Name: name, Nodes: len(list)})
	}
	slices.SortFunc(out, func(a, b mapGroup) int {
		if a.Nodes != b.Nodes {
			return b.Nodes - a.Nodes
		}
		return strings.Compare(a.Name, b.Name)
	})
	for i := range out {
		list := by[out[i].Name]
		before := ""
		for from := 0; from < len(list); from += tileMarks * per {
			part := list[from:min(len(list), from+tileMarks*per)]
			t := newTile(part, per, told <= namedMarks, paint)
			t.ID = fmt.Sprintf("tile-%d-%d", i, len(out[i].Tiles))
			t.URL = tileURL(out[i].Name, before) + paint.query()
			t.Current = group != "" && after == before
			before = part[len(part)-1].ID
			out[i].Tiles = append(out[i].Tiles, t)
		}
	}
	return out
}

// tileURL lists a tile's hosts, on the page of the map: those of the group behind an id.
func tileURL(group, before string) string {
	url := "?group=" + queryEscape(group) + "&sort=id"
	if before != "" {
		url += "&after=" + queryEscape(before)
	}
	return url
}

func newTile(nodes []*api.Node, per int, named bool, paint painter) tile {
	marks := make([]*api.Node, 0, tileMarks)
	for i, n := range nodes {
		if i%per == 0 {
			marks = append(marks, n)
		} else {
			marks[len(marks)-1] = paint.stands(marks[len(marks)-1], n)
		}
	}
	rows := (len(marks) + tileRow - 1) / tileRow
	t := tile{
		Title: withOthers(nodes) + ": " + paint.said(nodes),
		Width: markPitch * tileRow, Height: markPitch * rows, Marks: paint.draw(marks, named),
	}
	t.Named = strings.Contains(string(t.Marks), "<title>")
	return t
}

// withOthers names the first of the hosts, and counts the others.
func withOthers(nodes []*api.Node) string {
	if len(nodes) == 1 {
		return nodes[0].ID
	}
	if len(nodes) == tileMarks {
		return "from " + nodes[0].ID
	}
	return nodes[0].ID + " and " + number(int64(len(nodes)-1)) + " more"
}

// byState marks each host by its state.
type byState struct{}

func (byState) query() string { return "" }

func (byState) stands(a, b *api.Node) *api.Node {
	if urgency(markOf(b)) < urgency(markOf(a)) {
		return b
	}
	return a
}

func (byState) said(nodes []*api.Node) string {
	counts := map[api.NodeState]int{}
	for _, n := range nodes {
		counts[markOf(n)]++
	}
	var said []string
	for _, s := range mapStates {
		if counts[s] > 0 {
			said = append(said, number(int64(counts[s]))+" "+strings.ToLower(known(nodeLooks, s).Word))
		}
	}
	return strings.Join(said, ", ")
}

func urgency(s api.NodeState) int { return slices.Index(mapStates, s) }

// draw draws runs of idle hosts as one line, each other host by its state.
func (byState) draw(marks []*api.Node, named bool) template.HTML {
	if !named {
		return manyMarks(marks)
	}
	var idle, rest strings.Builder
	for i := 0; i < len(marks); i++ {
		n := marks[i]
		x, y := i%tileRow*markPitch, i/tileRow*markPitch
		state := markOf(n)
		shape, drawn := markShapes[state]
		switch {
		case !drawn: // idle: up to the end of the run, or of the row
			run := 1
			for i+1 < len(marks) && (i+1)%tileRow != 0 {
				if _, other := markShapes[markOf(marks[i+1])]; other {
					break
				}
				run, i = run+1, i+1
			}
			fmt.Fprintf(&idle, "M%d.5 %d.5h%d", x+2, y+5, run*markPitch-5)
		default:
			fmt.Fprintf(&rest, `<path class="%s" d="M%d %d%s"><title>%s: %s</title></path>`, shape.class, x, y, shape.path,
				template.HTMLEscapeString(n.ID), strings.ToLower(known(nodeLooks, state).Word))
		}
	}
	if len(marks) == tileMarks && rest.Len() == 0 {
		return idleTile
	}
	if idle.Len() == 0 {
		return template.HTML(rest.String())
	}
	return template.HTML(fmt.Sprintf(`<path class="g-line" d="%s"/>`, idle.String()) + rest.String())
}

// idleTile is a whole tile of idle hosts.
const idleTile template.HTML = `<use href="#idle-tile"/>`

// manyMarks draws all hosts as idle, and covers the others by the pattern of their
// state.
func manyMarks(marks []*api.Node) template.HTML {
	by := map[api.NodeState]*strings.Builder{}
	for i, n := range marks {
		state := markOf(n)
		if _, drawn := markShapes[state]; !drawn {
			continue
		}
		if by[state] == nil {
			by[state] = &strings.Builder{}
		}
		fillRun(by[state], i, i+1)
	}
	out := string(idleTile)
	if len(marks) < tileMarks {
		out = `<path class="g-line" d="`
		for from := 0; from < len(marks); from += tileRow {
			out += fmt.Sprintf("M2.5 %d.5h%d", from/tileRow*markPitch+5, min(tileRow, len(marks)-from)*markPitch-5)
		}
		out += `"/>`
	}
	for _, s := range mapStates {
		if by[s] != nil {
			out += fmt.Sprintf(`<path fill="url(#state-%s)" d="%s"/>`, s, by[s])
		}
	}
	return template.HTML(out)
}
