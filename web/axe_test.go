package web_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/chromedp/chromedp"
)

// everyRule are WCAG 2.2 AA and axe's good practice; of them, a theme changes only
// what is about colours.
var (
	everyRule   = []string{"wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"}
	colourRules = []string{"color-contrast", "link-in-text-block"}
)

// alike is what only repeats what was looked at: the later rows of tables and
// lists, and the later tiles of the map.
const alike = `['tbody tr:nth-child(n+7)', '.log li:nth-child(n+7)', '.tiles .tile:nth-child(n+6)', 'option:nth-child(n+4)']`

// still keeps what the stream brings to a page until a promise is kept: axe-core
// looks for seconds, rule by rule, and would judge elements that are gone.
const still = `(async () => {
	const swaps = swap, held = [];
	swap = (fragment) => held.push(fragment);
	try { return await %s; } finally { swap = swaps; held.forEach(swap); }
})()`

// axe asks axe-core what is wrong with the page as it is.
func (p *tab) axe(where string, rules []string) {
	p.Helper()
	p.axeOf("html", where, rules)
}

// axeOf asks it about a part of the page only.
func (p *tab) axeOf(css, where string, rules []string) {
	p.Helper()
	p.until(where+" is whole", isWhole)
	if p.script == "" {
		text, err := os.ReadFile("testdata/axe-core/axe.min.js")
		if err != nil {
			p.Fatal(err)
		}
		p.script = string(text)
	}
	if !p.truth("typeof axe === 'object'") {
		// Evaluated over the debugger, so that the page's own policy stays as it is.
		p.do(ignore(chromedp.Evaluate[bool](p.script + "\n;typeof axe === 'object'")))
	}
	only, err := json.Marshal(rules)
	if err != nil {
		p.Fatal(err)
	}
	found, err := chromedp.Run(p.ctx, chromedp.Evaluate[[]string](fmt.Sprintf(still, `axe.run({include: ['`+css+`'], exclude: `+alike+`}, {runOnly: `+string(only)+`, resultTypes: ['violations']})
		.then((r) => r.violations.flatMap((v) => v.nodes.slice(0, 5).map((n) => v.id + ': ' + n.html.slice(0, 200) + ' ' + (n.failureSummary || '').split('\n').slice(1).join(';'))))`),
		chromedp.EvalAwaitPromise))
	if err != nil {
		p.Fatalf("%s: %v", where, err)
	}
	if len(found) > 0 {
		p.Errorf("%s: axe finds\n  %s", where, strings.Join(found, "\n  "))
	}
}

// fits fails if the page scrolls sideways.
func (p *tab) fits(where string) {
	p.Helper()
	wide, err := chromedp.Run(p.ctx, chromedp.Evaluate[[]string](`(() => {
		const most = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth <= most) return [];
		return [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > most + 1 && !e.closest('.scroll')).slice(-3).map((e) => e.outerHTML.slice(0, 160));
	})()`))
	if err != nil {
		p.Fatalf("%s: %v", where, err)
	}
	if len(wide) > 0 {
		p.Errorf("%s scrolls sideways:\n  %s", where, strings.Join(wide, "\n  "))
	}
}

// at is a page, a width and a theme in words.
func at(path string, width int64, theme string) string {
	return fmt.Sprintf("%s at %d px, %s", path, width, theme)
}
