package web

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// strip draws who was out when: a lane for each slot that was in use, or, where
// there are many, how many were out.
type strip struct {
	Error  string // the range was not understood
	Span   string // chosen: "2h", "24h", "7d"
	Spans  []spanChoice
	Height int
	Ticks  []stripTick
	Lanes  []stripLane
	Steps  string // instead of lanes: the line of how many were out
	Area   string
	Top    int    // most that were out at once
	Now    string // where now is
	Label  string
	Stays  []stay // in the range, newest first, for the table
	More   int    // stays that the table leaves out
}

type spanChoice struct {
	Word, URL string
	Current   bool
}

type stripTick struct{ X, Text string }

type stripLane struct {
	Number, Y, Text int
	Bars            []stripBar
}

// stripBar is one stay, or several that would be too narrow to draw apart.
type stripBar struct {
	X, Width string
	Class    string // done, b is-…, plan
	Node     string
	Text     string // within the bar, when it is wide enough
	Title    string
	Late     string // X of where its deadline passed, relative to the bar
}

const (
	stripLanes = 24  // more slots are drawn as a line
	stripBars  = 300 // more are merged with their neighbours
	stripTable = 100 // rows of the table that says the same
	laneHeight = 26
	nowAt      = 0.86 // of the width; behind it is what is expected
	labelFrom  = 5.0  // percent of the width from which a bar has its name
)

// stripSpans are the ranges on offer, and the distance of their ticks. What is
// drawn moves on by a 240th of the range, so that a passing second changes
// nothing.
var stripSpans = []struct {
	name, word, format string
	lasts, tick        time.Duration
}{
	{"15m", "15 m", "15:04", 15 * time.Minute, 3 * time.Minute},
	{"2h", "2 h", "15:04", 2 * time.Hour, 15 * time.Minute},
	{"24h", "24 h", "15:04", 24 * time.Hour, 3 * time.Hour},
	{"7d", "7 d", "Mon 2", 7 * 24 * time.Hour, 24 * time.Hour},
}

// waiterTurn is when somebody who waits will probably go.
type waiterTurn struct {
	Node string
	At   time.Time
}

// scale turns times into places.
type scale struct{ from, now time.Time }

func (c scale) at(t time.Time) float64 {
	return nowAt * 100 * float64(t.Sub(c.from)) / float64(c.now.Sub(c.from))
}

// percentText is a place in the drawing.
func percentText(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) + "%" }

// newStrip draws a group's stays up to now in the range that is named; an unknown
// name is two hours.
func newStrip(group, span string, stays []stay, turns []waiterTurn, slots int, now time.Time) strip {
	chosen := stripSpans[1]
	for _, s := range stripSpans {
		if s.name == span {
			chosen = s
		}
	}
	unknown := ""
	if span != "" && span != chosen.name {
		unknown = fmt.Sprintf("There is no range %q; want one of those beside. This is the last %s.", span, chosen.word)
	}
	now = now.Truncate(chosen.lasts / 240)
	c := scale{now.Add(-chosen.lasts), now}
	d := strip{Error: unknown, Span: chosen.name, Now: percentText(nowAt * 100)}
	for _, s := range stripSpans {
		d.Spans = append(d.Spans, spanChoice{s.word, "/groups/" + segment(group) + "?span=" + s.name, s.name == chosen.name})
	}
	end := c.from.Add(time.Duration(float64(chosen.lasts) / nowAt))
	for t := c.from.Truncate(chosen.tick).Add(chosen.tick); t.Before(end); t = t.Add(chosen.tick) {
		x := c.at(t)
		if x < nowAt*100-5 || x > nowAt*100+5 && x < 96 { // the word "now" is there, and the edge
			d.Ticks = append(d.Ticks, stripTick{percentText(x), t.UTC().Format(chosen.format)})
		}
	}
	all := lanes(stays)
	for _, s := range slices.Backward(stays) {
		if s.To.IsZero() || s.To.After(c.from) {
			d.Stays = append(d.Stays, s)
		}
	}
	shown := max(len(all), slots)
	if slots > stripLanes || len(all) > 2*stripLanes {
		d.line(stays, c, max(slots, 1))
	} else {
		d.Height = 20 + laneHeight*min(max(shown, 1), 2*stripLanes)
		d.lanes(all, shown, turns, usual(stays), c)
	}
	d.Label = d.sentence(group, chosen.word)
	if d.More = len(d.Stays) - stripTable; d.More > 0 {
		d.Stays = d.Stays[:stripTable]
	}
	return d
}

// sentence is what a person hears who cannot see the drawing.
func (d *strip) sentence(group, word string) string {
	var out []string
	for _, s := range d.Stays {
		if s.Hold != nil && len(out) < 10 {
			out = append(out, s.Node+" since "+s.From.UTC().Format("15:04")+", "+strings.ToLower(s.Look().Word))
		}
	}
	text := fmt.Sprintf("Who was out of service in %s in the last %s: %s.", group, word, plural(len(d.Stays), "stay", "stays"))
	if len(out) > 0 {
		text += " Out now: " + strings.Join(out, "; ") + "."
	}
	return text
}

// lanes draws each lane's stays, and who is expected next in it.
func (d *strip) lanes(all [][]stay, shown int, turns []waiterTurn, usual time.Duration, c scale) {
	merge := len(d.Stays) > stripBars
	var free []time.Time
	for i := range shown {
		lane := stripLane{Number: i + 1, Y: 18 + laneHeight*i, Text: 33 + laneHeight*i}
		at := c.now
		if i < len(all) {
			for _, s := range all[i] {
				if !s.To.IsZero() && !s.To.After(c.from) {
					continue
				}
				lane.add(s, c, merge)
			}
			if last := all[i][len(all[i])-1]; last.To.IsZero() {
				at = last.From.Add(usual)
				if last.Hold.Overdue || last.Hold.Failed || last.Hold.Revoked != nil {
					at = time.Time{} // nobody can say when
				}
			}
		}
		free = append(free, at)
		d.Lanes = append(d.Lanes, lane)
	}
	if usual <= 0 {
		return
	}
	for _, w := range turns {
		i := -1
		for j, t := range free {
			if !t.IsZero() && (i < 0 || t.Before(free[i])) {
				i = j
			}
		}
		x := c.at(w.At)
		if i < 0 || x >= 99 {
			return
		}
		x = max(x, nowAt*100+0.3)
		free[i] = w.At.Add(usual)
		b := stripBar{Class: "plan", Node: w.Node, X: percentText(x), Title: w.Node + ", expected about " + w.At.UTC().Format("15:04") + " UTC"}
		wide := min(c.at(free[i]), 99.8) - x
		if b.Width = percentText(max(wide, 0.4)); wide >= labelFrom {
			b.Text = w.Node
		}
		d.Lanes[i].Bars = append(d.Lanes[i].Bars, b)
	}
}

// add draws one stay in its lane.
func (l *stripLane) add(s stay, c scale, merge bool) {
	from, to := max(c.at(s.From), 0), nowAt*100
	if !s.To.IsZero() {
		to = min(c.at(s.To), nowAt*100)
	}
	from = min(from, nowAt*100-0.4)
	wide := max(to-from, 0.4)
	lk := s.Look()
	b := stripBar{Node: s.Node, Class: "done", X: percentText(from), Width: percentText(max(wide-0.15, 0.3)),
		Title: s.Node + ", " + s.From.UTC().Format("15:04:05") + " to "}
	if s.To.IsZero() {
		b.Class = "b " + lk.Class
		b.Title += "now: " + strings.ToLower(lk.Word)
	} else {
		b.Title += s.To.UTC().Format("15:04:05") + ": " + strings.ToLower(lk.Word)
		if lk.Class != "is-ok" {
			b.Class = "b " + lk.Class
		}
	}
	if wide >= labelFrom {
		b.Text = s.Node
	}
	if h := s.Hold; h != nil && h.Overdue && h.Deadline.After(s.From) && to > from {
		if late := 100 * (c.at(h.Deadline) - from) / (to - from); late < 100 {
			b.Late = percentText(max(late, 0))
		}
	}
	if n := len(l.Bars); merge && n > 0 && b.Class == "done" && l.Bars[n-1].Class == "done" && wide < 1 {
		last := &l.Bars[n-1]
		begun, err := strconv.ParseFloat(strings.TrimSuffix(last.X, "%"), 64)
		if err == nil && to-begun < 2 {
			last.Width, last.Text, last.Node = percentText(to-begun), "", ""
			last.Title += "; " + b.Title
			return
		}
	}
	l.Bars = append(l.Bars, b)
}

// line draws how many were out at once, at 240 moments.
func (d *strip) line(stays []stay, c scale, slots int) {
	const moments = 240
	d.Height = 140
	step := c.now.Sub(c.from) / moments
	var out [moments + 1]int
	for _, s := range stays {
		for i := max(0, int(s.From.Sub(c.from)/step)); i <= moments; i++ {
			t := c.from.Add(time.Duration(i) * step)
			if !s.To.IsZero() && !t.Before(s.To) {
				break
			}
			if !t.Before(s.From) {
				out[i]++
			}
		}
	}
	d.Top = max(slots, slices.Max(out[:]))
	var path strings.Builder
	for i, n := range out {
		y := 100 - 100*float64(n)/float64(d.Top)
		if i == 0 {
			fmt.Fprintf(&path, "M0 %.1f", y)
		} else {
			fmt.Fprintf(&path, "H%dV%.1f", i, y)
		}
	}
	d.Steps = path.String()
	d.Area = d.Steps + fmt.Sprintf("H%dV100H0z", moments)
}

// turnsOf asks for the turns of the first who wait.
func turnsOf(waiters []api.Waiter, ask func(node string) (time.Time, string)) (turns []waiterTurn, basis string) {
	for _, w := range waiters[:min(len(waiters), turnsAsked)] {
		at, why := ask(w.Node)
		if at.IsZero() {
			break
		}
		turns, basis = append(turns, waiterTurn{w.Node, at}), why
	}
	return turns, basis
}

// turnsAsked is for how many of a queue the page says when they probably go.
const turnsAsked = 8
