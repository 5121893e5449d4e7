package web_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// clippedFocus names what has the focus without showing it: its outline lies, on two
// sides or more, beyond the edge of something that clips what it holds.
const clippedFocus = `(() => {
  const hidden = new Set();
  for (const e of document.querySelectorAll('a[href], button:enabled, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]')) {
    if (!e.checkVisibility()) continue;
    e.focus({ focusVisible: true, preventScroll: true });
    const css = getComputedStyle(e), by = parseFloat(css.outlineOffset), r = e.getBoundingClientRect();
    let clipped = css.outlineStyle === 'none' ? 4 : 0;
    for (let box = e.parentElement; box && !clipped; box = box.parentElement) {
      if (getComputedStyle(box).overflowX !== 'clip') continue;
      const c = box.getBoundingClientRect();
      clipped = [r.left - by < c.left, r.right + by > c.right, r.top - by < c.top, r.bottom + by > c.bottom].filter(Boolean).length;
      if (clipped < 2) clipped = 0;
    }
    if (clipped) hidden.add(e.tagName + '.' + e.className + ' in ' + e.parentElement.className);
  }
  return [...hidden].join('; ');
})()`

// Whatever has the focus shows it, also where a frame with round corners clips it.
func TestKeyboard_WhatHasTheFocusShowsIt(t *testing.T) {
	t.Parallel()
	url := open(t, busyFleet())
	p := openTab(t)
	p.look(1440, "light")
	for _, path := range []string{"/", "/groups/night", "/nodes", "/nodes/web-077", "/rollouts/ro-7k2f", "/rollouts/new", "/bundles", "/events", "/cluster"} {
		p.load(url + path)
		p.until(path+" is live", isLive)
		hidden, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](clippedFocus))
		if err != nil {
			t.Fatal(err)
		}
		if hidden != "" {
			t.Errorf("%s hides the focus of %s", path, strings.TrimSpace(hidden))
		}
	}
}
