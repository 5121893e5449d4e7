package web_test

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/semaphore"
	"github.com/lockkeeper/lockkeeper/web"
)

// ask sends one request as a principal, behind a door that names requests.
func ask(t *testing.T, b web.Backend, who auth.Principal, method, target string, form url.Values) *http.Response {
	t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, target, body)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	w.Header().Set(api.HeaderRequestID, "req-7f31")
	web.New(b, web.Options{Version: "test"}).ServeHTTP(w, r.WithContext(auth.With(r.Context(), who)))
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// show is a page seen by a local administrator.
func show(t *testing.T, b web.Backend, target string) string {
	t.Helper()
	r := ask(t, b, auth.Local(), http.MethodGet, target, nil)
	body := text(t, r)
	if r.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %d\n%s", target, r.StatusCode, body)
	}
	return body
}

func TestPages_NothingInlineAndNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	b := newStage()
	r := ask(t, b, auth.Local(), http.MethodGet, "/", nil)
	csp := r.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("Content-Security-Policy %q lacks %s", csp, want)
		}
	}
	b = busyFleet()
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|javascript:|\s(src|href|action|srcset|formaction)="(https?:)?//|<(img|iframe|object|embed|base)\b`)
	own := regexp.MustCompile(`<script src="/static/[a-z]+\.js\?v=[0-9a-f]+" defer></script>`)
	for _, page := range pagesOfBusyFleet {
		body := text(t, ask(t, b, auth.Local(), http.MethodGet, page.path, nil))
		if found := inline.FindString(body); found != "" {
			t.Errorf("GET %s: the page has %q", page.path, found)
		}
		if all, own := strings.Count(body, "<script"), len(own.FindAllString(body, -1)); all != own || own < 1 || own > 2 {
			t.Errorf("GET %s: %d scripts, %d of them files of our own; want one or two, and no others", page.path, all, own)
		}
	}
}

func TestNode_AnyIDHasAPage(t *testing.T) {
	for _, id := range []string{"web-1", "a/b", "..", ".", "a b+c?d#e", "100%", "böse", "a//b", "%2F"} {
		b := newStage()
		b.nodes = []api.Node{{ID: id, State: api.NodeIdle}}
		body := show(t, b, "/nodes/"+semaphore.EscapeID(id))
		if !strings.Contains(body, "<title>") {
			t.Errorf("node %q: no page", id)
		}
	}
	for id, address := range map[string]string{".": "/nodes/~.", "..": "/nodes/~.."} {
		b := newStage()
		b.nodes = []api.Node{{ID: id, State: api.NodeIdle}}
		if list := show(t, b, "/nodes"); !strings.Contains(list, `href="`+address+`"`) {
			t.Errorf("the list of nodes does not lead to %s", address)
		}
		if body := show(t, b, address); !strings.Contains(body, "<title>"+id+" ") {
			t.Errorf("%s is not the page of %q", address, id)
		}
	}
}

func TestGroup_ShowsWhenHostsMayStart(t *testing.T) {
	b := busyFleet()
	next := b.status.Groups[4].Status.Window.Next
	page := show(t, b, "/groups/night")
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Windows and blackouts", "<b>No window is open</b>; the next (night) opens ", next.In(berlin).Format("Mon 2 Jan 15:04 MST"),
		"mon-fri 22:00 for 4 h, Europe/Berlin; nothing starts in its last 30 m", "0 3 1-7 * sun</span> for 2 h, UTC",
		"<b>release 7.2</b></span>, in force", "the shop is being released", "<b>year-end</b>", "10 m between two starts; the next not before ",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "last month") {
		t.Error("a blackout that is over is shown")
	}
	if page := show(t, b, "/groups/web"); strings.Contains(page, "Windows and blackouts") {
		t.Error("a group that may start at any time has the panel")
	}
	if page := show(t, b, "/"); !strings.Contains(page, "Blackout</b><span>release 7.2, until ") {
		t.Error("the lock does not say why it is shut")
	}
}

func TestNode_ShowsWhenItProbablyGoes(t *testing.T) {
	page := show(t, busyFleet(), "/nodes/web-077")
	for _, want := range []string{"Probably ", "Tue 24 Nov 18:30 UTC", "if each hold lasts as long as the last 20 did"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestPages_AreCompressedForWhoAsksAndTheStreamIsNot(t *testing.T) {
	h := web.New(busyFleet(), web.Options{})
	viewer, leave := context.WithCancel(auth.With(t.Context(), auth.Local()))
	ask := func(target, encoding string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		r.Header.Set("Accept-Encoding", encoding)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(viewer))
		return w
	}
	for _, target := range []string{"/nodes", "/static/lockkeeper.css", "/static/lockkeeper.js"} {
		plain, packed := ask(target, "identity"), ask(target, "gzip")
		if plain.Header().Get("Content-Encoding") != "" || packed.Header().Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: encodings %q and %q", target, plain.Header().Get("Content-Encoding"), packed.Header().Get("Content-Encoding"))
			continue
		}
		if n, of := packed.Body.Len(), plain.Body.Len(); n > of/2 {
			t.Errorf("%s: %d bytes instead of %d", target, n, of)
		}
		unpacked, err := gzip.NewReader(packed.Body)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(unpacked); err != nil || len(body) != plain.Body.Len() {
			t.Errorf("%s: %d bytes come out, want %d; error %v", target, len(body), plain.Body.Len(), err)
		}
	}
	leave() // the stream ends after its first event
	if w := ask("/ui/stream?topic=overview", "gzip"); w.Code != http.StatusOK || w.Header().Get("Content-Encoding") != "" || !strings.HasPrefix(w.Body.String(), "event: at\n") {
		t.Errorf("the stream: %d, encoding %q, begins with %.40q", w.Code, w.Header().Get("Content-Encoding"), w.Body)
	}
}

func TestEvents_TellTheTimeInTwoPartsThatMayStandBelowEachOther(t *testing.T) {
	b := busyFleet()
	at := b.events[len(b.events)-1].At.UTC()
	want := "<span>" + at.Format("2 Jan 2006") + "</span> <span>" + at.Format("15:04:05") + "</span></time></th>"
	if page := show(t, b, "/events"); !strings.Contains(page, want) {
		t.Errorf("the page lacks %q", want)
	}
}
