package web_test

import (
	"context"
	"fmt"

	"github.com/chromedp/chromedp"
)

// aim lets the next press of the mouse through to one element only. Where it lands
// is asked for by struck.
const aim = `(() => {
	window.struck = false;
	const kinds = ['pointerdown', 'mousedown', 'pointerup', 'mouseup', 'click'];
	const guard = (e) => {
		const meant = e.target.closest?.(%q);
		if (meant && e.type === 'click') struck = true;
		if (!meant) { under = e.target.outerHTML?.slice(0, 120); e.preventDefault(); e.stopImmediatePropagation(); }
	};
	for (const kind of kinds) addEventListener(kind, guard, true);
	window.under = '';
	window.lower = () => { for (const kind of kinds) removeEventListener(kind, guard, true); };
	return true;
})()`

// struck takes the aim back. A page that was aimed at and is left was struck.
const struck = `typeof lower === 'undefined' ? 'struck' : (lower(), struck ? 'struck' : under)`

// click presses the mouse on an element that is seen. A live page may be laid out
// anew between the aim and the press, which then lands on something else and does
// nothing there: the mouse is aimed anew, as a hand would.
func (p *tab) click(css string) {
	p.Helper()
	if p.plain { // and never moves, once it is whole
		p.until("the page is whole", isWhole)
		p.do(chromedp.Click(chromedp.CSS(css)))
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	for {
		p.until(css+" is seen", fmt.Sprintf("document.querySelector(%q)?.checkVisibility({ visibilityProperty: true })", css))
		p.do(ignore(chromedp.Evaluate[bool](fmt.Sprintf(aim, css))))
		pressed := chromedp.Do(ctx, chromedp.Click(chromedp.CSS(css)))
		where, err := chromedp.Run(ctx, chromedp.Evaluate[string](struck))
		for err != nil && ctx.Err() == nil { // a page that is being left does not answer
			where, err = chromedp.Run(ctx, chromedp.Evaluate[string](struck))
		}
		if where == "struck" {
			return
		}
		if ctx.Err() != nil {
			p.Fatalf("the mouse never comes to %s; it is on %q; the last errors: %v, %v", css, where, pressed, err)
		}
	}
}
