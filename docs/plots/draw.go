package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strconv"
)

// chart is one set of axes. X is logarithmic always, Y where Log is set.
type chart struct {
	Title, X, Y string
	Log         bool
	lines       []line
}

type line struct {
	name   string
	points [][2]float64
}

func (c *chart) add(name string, x, y float64) {
	for i := range c.lines {
		if c.lines[i].name == name {
			c.lines[i].points = append(c.lines[i].points, [2]float64{x, y})
			return
		}
	}
	c.lines = append(c.lines, line{name, [][2]float64{{x, y}}})
}

// The measures of a chart, in pixels.
const (
	width, height = 460, 300
	left, right   = 62, 14
	top, bottom   = 34, 44
	legend        = 20 // for each line
)

// draw puts charts side by side. Colours follow the reader's light or dark
// scheme, and each line is told by its marks too.
func draw(charts ...chart) []byte {
	most := 0
	for _, c := range charts {
		most = max(most, len(c.lines))
	}
	var b bytes.Buffer
	w, h := width*len(charts), height+legend*((most+1)/2)+8
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui, sans-serif" font-size="12" role="img">`+"\n", w, h, w, h)
	b.WriteString(`<style>
:root { --ink: #1f2933; --rule: #d5dbe1; --ground: #ffffff; --c0: #7a5195; --c1: #0b7285; --c2: #c2410c; --c3: #2b6cb0 }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --rule: #39434d; --ground: #14191e; --c0: #c4a1e0; --c1: #4cc5d9; --c2: #fb923c; --c3: #7fb5f5 } }
text { fill: var(--ink) } .rule { stroke: var(--rule) } .line { fill: none; stroke-width: 2 }
</style>
`)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="var(--ground)"/>`+"\n", w, h)
	for i, c := range charts {
		fmt.Fprintf(&b, `<g transform="translate(%d 0)">`+"\n", i*width)
		c.draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (c *chart) draw(b *bytes.Buffer) {
	x0, x1, y0, y1 := math.Inf(1), 0.0, math.Inf(1), 0.0
	for _, l := range c.lines {
		for _, p := range l.points {
			x0, x1 = min(x0, p[0]), max(x1, p[0])
			y0, y1 = min(y0, p[1]), max(y1, p[1])
		}
	}
	ticks := linear(y1)
	if c.Log {
		ticks = decades(y0, y1)
	}
	low, high := ticks[0], ticks[len(ticks)-1]
	px := func(x float64) float64 {
		return left + (width-left-right)*(math.Log(x)-math.Log(x0))/(math.Log(x1)-math.Log(x0))
	}
	py := func(y float64) float64 {
		share := (y - low) / (high - low)
		if c.Log {
			share = (math.Log(y) - math.Log(low)) / (math.Log(high) - math.Log(low))
		}
		return height - bottom - (height-top-bottom)*share
	}
	fmt.Fprintf(b, `<text x="%d" y="20" font-size="14" font-weight="600">%s</text>`+"\n", left, html.EscapeString(c.Title))
	for _, t := range ticks {
		fmt.Fprintf(b, `<line class="rule" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, width-right, py(t), py(t), left-6, py(t)+4, number(t))
	}
	for _, p := range c.lines[0].points {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", px(p[0]), height-bottom+16, number(p[0]))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (left+width-right)/2, height-bottom+34, html.EscapeString(c.X))
	fmt.Fprintf(b, `<text transform="translate(14 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+height-bottom)/2, html.EscapeString(c.Y))
	for i, l := range c.lines {
		colour := fmt.Sprintf("var(--c%d)", i%4)
		dash := ""
		if i%2 == 1 && len(c.lines) > 2 {
			dash = ` stroke-dasharray="5 4"`
		}
		fmt.Fprintf(b, `<polyline class="line" stroke="%s"%s points="`, colour, dash)
		for _, p := range l.points {
			fmt.Fprintf(b, "%.1f,%.1f ", px(p[0]), py(p[1]))
		}
		b.WriteString(`"/>` + "\n")
		for _, p := range l.points {
			mark(b, i, px(p[0]), py(p[1]), colour)
		}
		x, y := float64(left+(i%2)*190), float64(height+legend*(i/2)+10)
		mark(b, i, x+6, y-4, colour)
		fmt.Fprintf(b, `<text x="%.0f" y="%.0f">%s</text>`+"\n", x+18, y, html.EscapeString(l.name))
	}
}

// mark is a circle, square, triangle or diamond.
func mark(b *bytes.Buffer, kind int, x, y float64, colour string) {
	switch kind % 4 {
	case 0:
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>`+"\n", x, y, colour)
	case 1:
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="7" height="7" fill="%s"/>`+"\n", x-3.5, y-3.5, colour)
	case 2:
		fmt.Fprintf(b, `<path d="M%.1f %.1fl4.5 8h-9z" fill="%s"/>`+"\n", x, y-5, colour)
	default:
		fmt.Fprintf(b, `<path d="M%.1f %.1fl5 5-5 5-5-5z" fill="%s"/>`+"\n", x, y-5, colour)
	}
}

// decades are the powers of ten around a range.
func decades(low, high float64) []float64 {
	var ticks []float64
	for e := math.Floor(math.Log10(max(low, 1e-3))); ; e++ {
		ticks = append(ticks, math.Pow(10, e))
		if math.Pow(10, e) >= high {
			return ticks
		}
	}
}

// linear are round numbers from 0 to above the highest.
func linear(high float64) []float64 {
	step := math.Pow(10, math.Floor(math.Log10(max(high, 1e-3))))
	for high/step < 3 {
		step /= 2
	}
	ticks := []float64{0}
	for ticks[len(ticks)-1] < high {
		ticks = append(ticks, step*float64(len(ticks)))
	}
	return ticks
}

func number(v float64) string {
	if v >= 1e6 {
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + "M"
	}
	if v >= 1e4 {
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + "k"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
