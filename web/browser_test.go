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
	close    func() // once it is closed, does nothing
	plain    bool   // it runs no script
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
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.WSURLReadTimeout(patience), chromedp.Flag("hide-scrollbars", true))
	ctx, cancel := chromedp.NewContext(alloc)
	stop := func() { cancel(); cancelAlloc() }
	if err := chromedp.Do(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	return ctx, stop, nil
}

// tabs are those that each test has opened.
var tabs struct {
	sync.Mutex
	of map[*testing.T][]*tab
}

// endsBehindPages ends a server with the test, once the test's pages are closed,
// whichever was begun first: a page whose server ends tells of the lost stream as
// of an error.
func endsBehindPages(t *testing.T, end func()) {
	t.Cleanup(func() {
		tabs.Lock()
		mine := tabs.of[t]
		delete(tabs.of, t)
		tabs.Unlock()
		for _, p := range mine {
			p.close()
		}
		end()
	})
}

func openTabIn(browser context.Context, t *testing.T) *tab {
	t.Helper()
	p := &tab{T: t}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithListener(p.listen))
	ctx, cancelTime := context.WithTimeout(ctx, 14*time.Minute) // a minute less than all tests of the package have
	p.ctx = ctx
	p.close = sync.OnceFunc(func() { cancelTime(); cancel() })
	tabs.Lock()
	if tabs.of == nil {
		tabs.of = map[*testing.T][]*tab{}
	}
	tabs.of[t] = append(tabs.of[t], p)
	tabs.Unlock()
	t.Cleanup(func() {
		p.close()
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

// isWhole says that all of a page has come, its scripts as well, and that it was
// painted: until then a browser drops what is typed and clicked.
const isWhole = `document.readyState === 'complete' && performance.getEntriesByName('first-contentful-paint').length > 0`

// patience is how long a page may take on a machine with much else to do: it
// only guards against waiting for ever.
const patience = 2 * time.Minute

// untilIn looks from outside again and again. What looks from within a page ends
// with it, and never looks twice in a page that runs no script.
func (p *tab) untilIn(within time.Duration, what, expression string) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, within)
	defer cancel()
	var last error // of a page that was just left, or is not whole yet
	for {
		is, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		if is {
			return
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			body, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string]("location.href + '\\n' + document.body.innerText"))
			p.Fatalf("not within %v: %s; the last error was: %v; the page says:\n%s", within, what, last, body)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func ignore[T any](a chromedp.Action[T]) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := a(ctx, t)
		return chromedp.Void{}, err
	}
}

// fill types into a field of a page that has come whole: when it has, the debugger
// forgets the elements that it knew.
func (p *tab) fill(css, text string) {
	p.Helper()
	p.until("the page is whole", isWhole)
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

// truthOver is truth of a page that may be left at this moment.
func (p *tab) truthOver(expression string) bool {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	for {
		v, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		if err == nil {
			return v
		}
		if ctx.Err() != nil {
			p.Fatal(err)
		}
	}
}

// look sets the size of the window and the theme.
func (p *tab) look(width int64, theme string) {
	p.Helper()
	p.do(chromedp.EmulateViewport(width, 900))
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}}); err != nil {
		p.Fatal(err)
	}
	p.until("the window has its size", fmt.Sprintf("innerWidth === %d", width)) // the page learns of it by itself
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
