package web_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestPictures_ForTheDocs takes the pictures of the docs anew, when it is asked to.
//
//	LOCKKEEPER_PICTURES=1 go test ./web -run Pictures
func TestPictures_ForTheDocs(t *testing.T) {
	if os.Getenv("LOCKKEEPER_PICTURES") == "" {
		t.Skip("it overwrites docs/images: LOCKKEEPER_PICTURES=1 go test ./web -run Pictures")
	}
	url := open(t, busyFleet())
	p := openTab(t)
	for _, page := range []struct {
		name, path string
		height     int64
	}{{"overview", "/", 1110}, {"group", "/groups/web", 1000}, {"nodes", "/nodes", 900}, {"rollout", "/rollouts/ro-7k2f", 1100}} {
		for _, theme := range []string{"light", "dark"} {
			p.look(1440, theme)
			p.do(chromedp.EmulateViewport(1440, page.height), chromedp.Navigate(url+page.path))
			p.until("the page is live", isLive)
			png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join("..", "docs", "images", fmt.Sprintf("%s-%s.png", page.name, theme)), png, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
