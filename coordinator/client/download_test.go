package client

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// content is more than net/http sends in one write.
var content = bytes.Repeat([]byte("0123456789abcdef"), 64<<10)

// files serves content, resumable, except where handle does.
func files(t *testing.T, handle func(w http.ResponseWriter, r *http.Request) bool) (*Downloader, string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			t.Error("credentials were sent")
		}
		if !handle(w, r) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		}
	}))
	t.Cleanup(srv.Close)
	d, err := NewDownloader(DownloaderConfig{Sources: []string{srv.URL + "/"}})
	if err != nil {
		t.Fatal(err)
	}
	return d, srv.URL + "/web.bundle"
}

func always(http.ResponseWriter, *http.Request) bool { return false }

// cutAfter sends n bytes of what was asked for, and breaks off.
func cutAfter(w http.ResponseWriter, n int) bool {
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	_, _ = w.Write(content[:n])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func has(t *testing.T, file string, want []byte) {
	t.Helper()
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v, want %d", len(got), err, len(want))
	}
}

func TestFetch_GoesOnWhereItBrokeOff(t *testing.T) {
	var asked []string
	d, url := files(t, func(w http.ResponseWriter, r *http.Request) bool {
		asked = append(asked, r.Header.Get("Range"))
		return len(asked) == 1 && cutAfter(w, 300_000)
	})
	file := filepath.Join(t.TempDir(), "part")
	_, err := d.Fetch(t.Context(), url, int64(len(content)), file)
	if err == nil || errors.As(err, new(*api.Error)) {
		t.Fatalf("broken off: %v, want one that asking again mends", err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Size() == 0 {
		t.Fatal(info, err)
	}
	resumed, err := d.Fetch(t.Context(), url, int64(len(content)), file)
	if err != nil || !resumed || asked[1] != fmt.Sprintf("bytes=%d-", info.Size()) {
		t.Errorf("%t, %v, asked for %q", resumed, err, asked)
	}
	has(t, file, content)
	if _, err := d.Fetch(t.Context(), url, int64(len(content)), file); err != nil || len(asked) != 2 {
		t.Errorf("what is whole was asked for again: %v, %q", err, asked)
	}
}

func TestFetch_StartsAgainWhereTheServerCannotGoOn(t *testing.T) {
	for what, handle := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"it ignores ranges": func(w http.ResponseWriter, r *http.Request) bool {
			r.Header.Del("Range")
			return false
		},
		"it refuses the range": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") != "" {
				http.Error(w, "", http.StatusRequestedRangeNotSatisfiable)
				return true
			}
			return false
		},
		"it sends another range": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") != "" {
				r.Header.Set("Range", "bytes=5-")
			}
			return false
		},
	} {
		d, url := files(t, handle)
		file := filepath.Join(t.TempDir(), "part")
		if err := os.WriteFile(file, []byte("other bytes"), 0o600); err != nil {
			t.Fatal(err)
		}
		resumed, err := d.Fetch(t.Context(), url, int64(len(content)), file)
		if err != nil {
			resumed, err = d.Fetch(t.Context(), url, int64(len(content)), file)
		}
		if err != nil || resumed {
			t.Errorf("%s: %t, %v", what, resumed, err)
		}
		has(t, file, content)
	}
}

func TestFetch_SaysWhatAskingAgainDoesNotMend(t *testing.T) {
	status := func(code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(code)
			return true
		}
	}
	for what, c := range map[string]struct {
		handle func(http.ResponseWriter, *http.Request) bool
		size   int
		kind   api.Kind // "" where asking again may help
		want   string
	}{
		"not there":  {status(404), len(content), api.NotFound, "404 Not Found"},
		"forbidden":  {status(403), len(content), api.NotFound, "403 Forbidden"},
		"overloaded": {status(503), len(content), "", "503"},
		"too often":  {status(429), len(content), "", "429"},
		"longer":     {always, len(content) - 1, api.Invalid, fmt.Sprintf("%d bytes; accepted: the %d", len(content), len(content)-1)},
		"shorter":    {always, len(content) + 1, api.Invalid, "accepted: the"},
		"endless": {func(w http.ResponseWriter, r *http.Request) bool {
			for r.Context().Err() == nil {
				if _, err := w.Write(content); err != nil {
					break
				}
			}
			return true
		}, 100, api.Invalid, "sends more than the 100 bytes"},
		"a redirect to elsewhere": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://169.254.169.254/latest/", http.StatusFound)
			return true
		}, len(content), api.Invalid, `nothing is fetched from "http://169.254.169.254/latest/"`},
		"silent": {func(_ http.ResponseWriter, r *http.Request) bool {
			<-r.Context().Done()
			return true
		}, len(content), "", "nothing came for 200ms"},
	} {
		d, url := files(t, c.handle)
		if what == "silent" {
			d.silence = 200 * time.Millisecond
		}
		file := filepath.Join(t.TempDir(), "part")
		_, err := d.Fetch(t.Context(), url, int64(c.size), file)
		var refused *api.Error
		if errors.As(err, &refused) != (c.kind != "") || refused != nil && refused.Kind != c.kind || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
		if info, err := os.Stat(file); err == nil && info.Size() > int64(c.size) {
			t.Errorf("%s: wrote %d bytes", what, info.Size())
		}
	}
}

func TestFetch_FollowsARedirectWithinWhatIsAccepted(t *testing.T) {
	d, url := files(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/web.bundle" {
			http.Redirect(w, r, "/there", http.StatusFound)
			return true
		}
		return false
	})
	file := filepath.Join(t.TempDir(), "part")
	if _, err := d.Fetch(t.Context(), url, int64(len(content)), file); err != nil {
		t.Fatal(err)
	}
	has(t, file, content)
}

func TestAccepts_OnlyWhatBeginsLikeASource(t *testing.T) {
	secure, err := NewDownloader(DownloaderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	listed, err := NewDownloader(DownloaderConfig{Sources: []string{"http://files.lan/bundles/", "https://files.example/"}})
	if err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string][2]bool{
		"https://files.example/web.bundle":       {true, true},
		"https://elsewhere.example/web.bundle":   {true, false},
		"http://files.lan/bundles/web.bundle":    {false, true},
		"http://files.lan/bundles/../secret":     {false, false},
		"http://files.lan/bundles/%2e%2e/x":      {false, false},
		"http://files.lan.evil.example/bundles/": {false, false},
		"https://ann:pw@files.example/x":         {false, false},
		"file:///etc/shadow":                     {false, false},
		"":                                       {false, false},
	} {
		if got := [2]bool{secure.Accepts(url) == nil, listed.Accepts(url) == nil}; got != want {
			t.Errorf("%s: %v, want %v", url, got, want)
		}
	}
	for _, s := range []string{"http://", "http://files.lan", "ftp://files.lan/", "files.lan/", "https://ann:pw@h/"} {
		if _, err := NewDownloader(DownloaderConfig{Sources: []string{s}}); err == nil {
			t.Errorf("source %q: accepted", s)
		}
	}
}
