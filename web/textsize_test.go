package web_test

import (
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// Whoever has set text twice as large in the browser reads every page without
// scrolling sideways, and sees all of the menu.
func TestPages_FitWhereTextIsTwiceAsLarge(t *testing.T) {
	t.Parallel()
	url := open(t, busyFleet())
	p := openTab(t)
	if _, err := chromedp.Call(p.ctx, page.SetFontSizes, page.SetFontSizesParams{FontSizes: &page.FontSizes{Standard: 32, Fixed: 32}}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/groups/web", "/groups/night", "/nodes", "/nodes/web-077", "/rollouts", "/rollouts/ro-7k2f", "/rollouts/new", "/bundles", "/events", "/cluster", "/freeze"} {
		p.look(1280, "light")
		p.load(url + path)
		p.until(path+" is live", isLive)
		for _, width := range []int64{1280, 640} {
			p.look(width, "light")
			where := fmt.Sprintf("%s at %d px, with text of 32 px", path, width)
			p.fits(where)
			if p.truth(`document.querySelector('#nav').scrollWidth > document.querySelector('#nav').clientWidth`) {
				t.Errorf("%s: a part of the menu is out of sight", where)
			}
		}
	}
}
