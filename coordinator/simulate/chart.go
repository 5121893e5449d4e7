package simulate

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"sort"
	"time"
)

// The measures of the chart, in pixels.
const (
	width, height            = 960, 400
	left, right, top, bottom = 64, 64, 58, 74
)

// SVG draws how many hosts were out of service over time with the bound that
// they kept to, how far the rollout was, and its waves. Colours follow the
// reader's light or dark scheme.
func (r *Report) SVG() []byte {
	c := &canvas{r: r, from: r.Starts, to: r.series.last}
	if !c.to.After(c.from) {
		c.to = c.from.Add(time.Second)
	}
	bound := 0
	for i := range r.Waves {
		bound = max(bound, r.Waves[i].Concurrency.Nodes)
	}
	c.most = niceAbove(max(r.PeakOut, bound, 1))
	c.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="%s">`+"\n",
		width, height, width, height, html.EscapeString(c.summary()))
	c.printf(`<style>
:root { color-scheme: light dark; --ink: #1f2933; --soft: #52606d; --rule: #d5dbe1; --ground: #ffffff; --band: #eef2f6; --out: #2b6cb0; --bound: #c2410c; --progress: #0b7285; --halt: #b42318 }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #a9b4bf; --rule: #39434d; --ground: #14191e; --band: #1c232a; --out: #7fb5f5; --bound: #fb923c; --progress: #4cc5d9; --halt: #f97066 } }
text { fill: var(--ink) } .soft { fill: var(--soft) } .rule { stroke: var(--rule) }
</style>
`)
	c.printf(`<rect width="%d" height="%d" fill="var(--ground)"/>`+"\n", width, height)
	c.printf(`<text x="%d" y="20" font-size="14" font-weight="600">%s</text>`+"\n", left, html.EscapeString(c.summary()))
	c.bands()
	c.axes()
	c.out()
	c.bounds()
	c.progress()
	c.halt()
	c.legend()
	c.printf("</svg>\n")
	return c.b.Bytes()
}

type canvas struct {
	r        *Report
	b        bytes.Buffer
	from, to time.Time
	most     int
}

func (c *canvas) printf(format string, args ...any) { fmt.Fprintf(&c.b, format, args...) }

func (c *canvas) summary() string {
	r := c.r
	text := fmt.Sprintf("%d simulated hosts: %s", r.Nodes, r.State)
	if r.MakespanS > 0 {
		text += " after " + Span(time.Duration(r.MakespanS*float64(time.Second)))
	}
	return fmt.Sprintf("%s, at most %d out of service", text, r.PeakOut)
}

func (c *canvas) x(t time.Time) float64 {
	share := float64(t.Sub(c.from)) / float64(c.to.Sub(c.from))
	return left + (width-left-right)*min(1, max(0, share))
}

func (c *canvas) y(n float64) float64 {
	return height - bottom - (height-top-bottom)*n/float64(c.most)
}

// bands are the waves, each from its start to the end of its soak.
func (c *canvas) bands() {
	labelled := -1000.0
	for i, w := range c.r.Waves {
		if w.Started.IsZero() {
			continue
		}
		end := w.Done
		if end.IsZero() {
			end = c.to
		}
		x0, x1 := c.x(w.Started), c.x(end)
		if i%2 == 0 {
			c.printf(`<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="var(--band)"/>`+"\n", x0, top, max(0.5, x1-x0), height-top-bottom)
		}
		if !w.Finished.IsZero() && x1-c.x(w.Finished) > 1 { // it soaks
			c.printf(`<rect x="%.1f" y="%d" width="%.1f" height="6" fill="var(--rule)"/>`+"\n", c.x(w.Finished), top, x1-c.x(w.Finished))
		}
		name := w.Name
		if len(name) > 24 {
			name = name[:23] + "…"
		}
		if need := 7*float64(len(name)) + 8; x0-labelled >= 0 && (x1-x0 >= need || len(c.r.Waves) <= 4) && x0+need < width-right {
			c.printf(`<text class="soft" x="%.1f" y="%d">%s</text>`+"\n", x0+3, top-6, html.EscapeString(name))
			labelled = x0 + need
		}
	}
}

func (c *canvas) axes() {
	for k := range 5 {
		n := float64(c.most) * float64(k) / 4
		c.printf(`<line class="rule" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text><text class="soft" x="%d" y="%.1f">%d%%</text>`+"\n",
			left, width-right, c.y(n), c.y(n), left-8, c.y(n)+4, trimmed(n), width-right+8, c.y(n)+4, 25*k)
	}
	step := niceSpan(c.to.Sub(c.from) / 8)
	for d := time.Duration(0); d <= c.to.Sub(c.from); d += step {
		x := c.x(c.from.Add(d))
		c.printf(`<line class="rule" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x, x, height-bottom, height-bottom+4, x, height-bottom+18, Span(d))
	}
	c.printf(`<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">out of service</text>`+"\n", (top+height-bottom)/2)
	c.printf(`<text class="soft" transform="translate(%d %d) rotate(90)" text-anchor="middle">updated</text>`+"\n", width-14, (top+height-bottom)/2)
	c.printf(`<text class="soft" x="%d" y="%d" text-anchor="middle">time since the start at %s</text>`+"\n",
		(left+width-right)/2, height-bottom+36, c.from.UTC().Format("2006-01-02 15:04 MST"))
}

// out is the area of those out of service: the most in each pixel.
func (c *canvas) out() {
	pieces := width - left - right
	c.printf(`<path fill="var(--out)" fill-opacity="0.35" stroke="var(--out)" d="M%d %.1f`, left, c.y(0))
	for i, n := range c.r.series.most(c.from, c.to, pieces) {
		c.printf("L%d %.1fh1", left+i, c.y(float64(n)))
	}
	c.printf(`L%d %.1fz"/>`+"\n", width-right, c.y(0))
}

// bounds are how many might be out at once in each wave.
func (c *canvas) bounds() {
	for _, w := range c.r.Waves {
		if w.Started.IsZero() {
			continue
		}
		end := w.Finished
		if end.IsZero() {
			end = c.to
		}
		y := c.y(float64(w.Concurrency.Nodes))
		c.printf(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="var(--bound)" stroke-width="2"/>`+"\n", c.x(w.Started), max(c.x(w.Started)+1, c.x(end)), y, y)
	}
}

func (c *canvas) progress() {
	c.printf(`<path fill="none" stroke="var(--progress)" stroke-width="2" stroke-dasharray="6 3" d="M%d %.1f`, left, c.y(0))
	done := c.r.ended
	pieces := width - left - right
	for i := 1; i <= pieces; i++ {
		until := c.from.Add(time.Duration(float64(c.to.Sub(c.from)) * float64(i) / float64(pieces)))
		n := sort.Search(len(done), func(k int) bool { return done[k].After(until) })
		c.printf("L%d %.1f", left+i, c.y(float64(c.most)*float64(n)/float64(max(1, c.r.Nodes))))
	}
	c.printf(`"/>` + "\n")
}

func (c *canvas) halt() {
	at := c.r.Budget.HaltedAt
	if at.IsZero() {
		return
	}
	x := c.x(at)
	anchor, dx := "start", 5.0
	if x > width/2 {
		anchor, dx = "end", -5
	}
	c.printf(`<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="var(--halt)" stroke-width="2"/><text x="%.1f" y="%d" text-anchor="%s" style="fill: var(--halt)">halted: %d failed, %d may</text>`+"\n",
		x, x, top, height-bottom, x+dx, top+18, anchor, c.r.Budget.Failed, c.r.Budget.Max)
}

func (c *canvas) legend() {
	y := height - 14
	item := func(x int, swatch, text string) {
		c.printf(swatch+`<text x="%d" y="%d">%s</text>`+"\n", x, y-5, x+24, y, text)
	}
	item(left, `<rect x="%d" y="%d" width="18" height="6" fill="var(--out)" fill-opacity="0.5"/>`, "out of service")
	item(left+150, `<path d="M%d %dh18" stroke="var(--bound)" stroke-width="2"/>`, "bound of the wave")
	item(left+320, `<path d="M%d %dh18" stroke="var(--progress)" stroke-width="2" stroke-dasharray="6 3"/>`, "updated (right)")
	item(left+480, `<rect x="%d" y="%d" width="18" height="6" fill="var(--rule)"/>`, "soak and gates")
	item(left+630, `<rect x="%d" y="%d" width="18" height="8" fill="var(--band)"/>`, "every other wave")
}

// niceAbove is a round number that four can share, not below n.
func niceAbove(n int) int {
	for unit := 1; ; unit *= 10 {
		for _, k := range []int{4, 8, 12, 16, 20, 32} {
			if k*unit >= n {
				return k * unit
			}
		}
	}
}

// niceSpan is a time that people count in, not below d.
func niceSpan(d time.Duration) time.Duration {
	for _, unit := range []struct {
		unit time.Duration
		of   []int
	}{
		{time.Second, []int{1, 2, 5, 10, 15, 30}}, {time.Minute, []int{1, 2, 5, 10, 15, 30}},
		{time.Hour, []int{1, 2, 3, 6, 12}}, {24 * time.Hour, []int{1, 2, 7, 14, 28, 56, 112, 224, 448}},
	} {
		for _, k := range unit.of {
			if span := time.Duration(k) * unit.unit; span >= d {
				return span
			}
		}
	}
	return d
}

func trimmed(n float64) string {
	if n == math.Trunc(n) {
		return fmt.Sprintf("%.0f", n)
	}
	return fmt.Sprintf("%.1f", n)
}

// Span is a time in its two largest units.
func Span(d time.Duration) string {
	d = d.Round(time.Second)
	days, d := d/(24*time.Hour), d%(24*time.Hour)
	hours, minutes, secs := d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second
	switch {
	case days > 0 && hours > 0:
		return fmt.Sprintf("%dd %dh", days, hours)
	case days > 0:
		return fmt.Sprintf("%dd", days)
	case hours > 0 && minutes > 0:
		return fmt.Sprintf("%dh %dm", hours, minutes)
	case hours > 0:
		return fmt.Sprintf("%dh", hours)
	case minutes > 0 && secs > 0:
		return fmt.Sprintf("%dm %ds", minutes, secs)
	case minutes > 0:
		return fmt.Sprintf("%dm", minutes)
	}
	return fmt.Sprintf("%ds", secs)
}
