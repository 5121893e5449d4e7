package web_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser starts Chromium once for the package; TestMain ends it.
var browser struct {
	sync.Once
	ctx    context.Context
	cancel context.CancelFunc
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if browser.cancel != nil {
		browser.cancel()
	}
	os.Exit(code)
}

func findChromium() (string, error) {
	names := []string{"chromium", "chromium-browser", "google-chrome"}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no Chromium (looked for %s); install it with: apt-get install chromium", strings.Join(names, ", "))
}

// tab is a page of the browser that keeps what went wrong in it.
type tab struct {
	*testing.T
	ctx      context.Context
	mu       sync.Mutex
	problems []string
	expected []string
	script   string // axe-core, once it was read
}

// openTab opens an empty page. Without a browser the test is skipped, unless
// everything is required. When the test ends, the page must have logged no
// error: a violated content policy is one.
func openTab(t *testing.T) *tab {
	t.Helper()
	browser.Do(func() { browser.ctx, browser.cancel, browser.err = startBrowser() })
	if browser.err != nil {
		noBrowser(t, browser.err)
	}
	return openTabIn(browser.ctx, t)
}

// openBrowser starts a browser of its own, with a profile of its own, and opens a
// page in it.
func openBrowser(t *testing.T) *tab {
	t.Helper()
	ctx, cancel, err := startBrowser()
	if err != nil {
		noBrowser(t, err)
	}
	t.Cleanup(cancel)
	return openTabIn(ctx, t)
}

func noBrowser(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("LOCKKEEPER_TEST_REQUIRE_ALL") == "1" {
		t.Fatal(err)
	}
	t.Skip(err)
}

func startBrowser() (context.Context, context.CancelFunc, error) {
	path, err := findChromium()
	if err != nil {
		return nil, nil, err
	}
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.Background(), chromedp.ExecPath(path), chromedp.Headless,
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.WSURLReadTimeout(time.Minute), chromedp.Flag("hide-scrollbars", true))
	ctx, cancel := chromedp.NewContext(alloc)
	stop := func() { cancel(); cancelAlloc() }
	if err := chromedp.Do(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	return ctx, stop, nil
}

func openTabIn(browser context.Context, t *testing.T) *tab {
	t.Helper()
	p := &tab{T: t}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithListener(p.listen))
	ctx, cancelTime := context.WithTimeout(ctx, 8*time.Minute)
	p.ctx = ctx
	t.Cleanup(func() {
		cancelTime()
		cancel()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, problem := range p.problems {
			if slices.ContainsFunc(p.expected, func(part string) bool { return strings.Contains(problem, part) }) {
				continue
			}
			t.Errorf("the page logged: %s", problem)
		}
	})
	if _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); err != nil {
		p.Fatal(err)
	}
	// Tabs are used beside each other; each believes that it is the one in front.
	if _, err := chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
		p.Fatal(err)
	}
	return p
}

// expect names errors that the test causes itself.
func (p *tab) expect(parts ...string) { p.expected = parts }

func (p *tab) listen(ev any) {
	problem := ""
	switch ev := ev.(type) {
	case *log.EventEntryAdded:
		if ev.Entry.Level == "error" {
			problem = ev.Entry.Text + " " + ev.Entry.URL
		}
	case *runtime.EventExceptionThrown:
		problem = ev.ExceptionDetails.Text
		if e := ev.ExceptionDetails.Exception; e != nil {
			problem += " " + e.Description
		}
	case *runtime.EventConsoleAPICalled:
		if ev.Type == "error" {
			problem = "console.error"
		}
	}
	if problem != "" {
		p.mu.Lock()
		p.problems = append(p.problems, problem)
		p.mu.Unlock()
	}
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.Fatal(err)
	}
}

// until waits for a JavaScript expression to become true, over navigations too.
func (p *tab) until(what, expression string) {
	p.Helper()
	p.untilIn(patience, what, expression)
}

// patience is how long a page may take on a machine with much else to do.
const patience = 45 * time.Second

func (p *tab) untilIn(within time.Duration, what, expression string) {
	p.Helper()
	deadline := time.Now().Add(within)
	for {
		err := chromedp.Do(p.ctx, ignore(chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(time.Until(deadline)))))
		if err == nil {
			return
		}
		// A page that is left takes its poll with it: ask the next one.
		if p.ctx.Err() == nil && time.Until(deadline) > time.Second {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		body, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string]("document.body.innerText"))
		p.Fatalf("%s: %v; the page says:\n%s", what, err, body)
	}
}

func ignore[T any](a chromedp.Action[T]) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := a(ctx, t)
		return chromedp.Void{}, err
	}
}

func (p *tab) click(css string) { p.Helper(); p.do(chromedp.Click(chromedp.CSS(css))) }
func (p *tab) fill(css, text string) {
	p.Helper()
	p.do(chromedp.SendKeys(chromedp.CSS(css), text))
}

func (p *tab) truth(expression string) bool {
	p.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool](expression))
	if err != nil {
		p.Fatal(err)
	}
	return v
}

// look sets the size of the window and the theme.
func (p *tab) look(width int64, theme string) {
	p.Helper()
	p.do(chromedp.EmulateViewport(width, 900))
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}}); err != nil {
		p.Fatal(err)
	}
}

// picture saves the whole page for a person to look at.
func (p *tab) picture(name string) {
	p.Helper()
	dir := os.Getenv("LOCKKEEPER_TEST_OUTPUT")
	if dir == "" {
		dir = filepath.Join("..", "test-output")
	}
	png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		p.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		p.Fatal(err)
	}
}
