package web

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// spark is what a gate's metric said of late, as a line against its threshold.
type spark struct {
	Line      string // path of the values; a try without an answer is a gap
	Dot       bool   // the last is drawn as a dot
	X, Y      string // of it
	Threshold string // height of the threshold
	Passes    bool
	Label     string
	Since     string // time of the oldest, UTC
}

const (
	sparkWidth  = 130
	sparkHeight = 30
	sparkEdge   = 4 // is left free at each side
)

// newSpark is nil for a gate without a threshold or a number.
func newSpark(g api.RolloutGate) *spark {
	if g.Threshold == nil || len(g.Past) == 0 {
		return nil
	}
	values := make([]float64, len(g.Past))
	low, high, silent := math.Inf(1), math.Inf(-1), 0
	for i, p := range g.Past {
		v, err := strconv.ParseFloat(p.Value, 64)
		if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
			values[i], silent = math.NaN(), silent+1
			continue
		}
		values[i], low, high = v, min(low, v), max(high, v)
	}
	if low > high {
		return nil
	}
	first, last := g.Past[0].At, g.Past[len(g.Past)-1].At
	d := spark{Passes: g.Passes, Since: first.UTC().Format("15:04"),
		Label: fmt.Sprintf("%s to %s since %s UTC, %s; threshold %s", figure(low), figure(high), first.UTC().Format("15:04"), plural(len(values), "try", "tries"), figure(*g.Threshold))}
	if low == high {
		d.Label = strings.Replace(d.Label, figure(low)+" to ", "", 1)
	}
	if silent > 0 {
		d.Label += fmt.Sprintf("; %d gave no number", silent)
	}
	bottom, top := min(low, *g.Threshold), max(high, *g.Threshold)
	y := func(v float64) string {
		if top == bottom {
			return fmt.Sprintf("%.1f", float64(sparkHeight)/2)
		}
		return fmt.Sprintf("%.1f", sparkEdge+(sparkHeight-2*sparkEdge)*(1-(v-bottom)/(top-bottom)))
	}
	d.Threshold = y(*g.Threshold)
	var line strings.Builder
	pen := "M"
	for i, v := range values {
		if math.IsNaN(v) {
			pen = "M"
			continue
		}
		x := float64(sparkWidth - sparkEdge)
		if all := last.Sub(first); all > 0 {
			x = sparkEdge + (sparkWidth-2*sparkEdge)*float64(g.Past[i].At.Sub(first))/float64(all)
		}
		fmt.Fprintf(&line, "%s%.1f %s", pen, x, y(v))
		pen = "L"
		d.X, d.Y, d.Dot = fmt.Sprintf("%.1f", x), y(v), i == len(values)-1
	}
	d.Line = line.String()
	return &d
}

// figure writes a number in as few digits as tell it apart.
func figure(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }
