package door

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// TestForm_LeavesNothingOnTheDisk sends what net/http keeps in a file: a large
// part of a form. Whoever may see the login page may send one.
func TestForm_LeavesNothingOnTheDisk(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	srv := httptest.NewServer(Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = r.PostFormValue("token")
	}), Options{Loopback: true}))
	defer srv.Close()
	const size = 48 << 20 // net/http keeps 32 MB in memory
	body := func() io.Reader {
		return io.MultiReader(
			strings.NewReader("--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n"),
			io.LimitReader(zeros{}, size), strings.NewReader("\r\n--x--\r\n"))
	}
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{http.MethodPost, "/ui/login", http.StatusUnsupportedMediaType},
		{http.MethodGet, "/groups/g/holds/n/free", 0}, // of a GET nobody asks what its body is
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, srv.URL+c.path, body())
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		if resp, err := srv.Client().Do(req); err == nil { // else it was cut off before it had sent all
			if c.status != 0 && resp.StatusCode != c.status {
				t.Errorf("%s %s: status %d, want %d", c.method, c.path, resp.StatusCode, c.status)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
	srv.Close() // every handler has returned then
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		t.Errorf("%s was left on the disk", f.Name())
	}
}

// TestForm_HasABound of what a handler can be made to read, said beforehand or
// not.
func TestForm_HasABound(t *testing.T) {
	var read int64
	var failed error
	d := Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		read, failed = io.Copy(io.Discard, r.Body)
	}), Options{Loopback: true})
	ask := func(path string, size, said int64) int {
		read, failed = 0, nil
		r := httptest.NewRequest(http.MethodPost, "http://localhost"+path, io.LimitReader(zeros{}, size))
		r.ContentLength = said
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if strings.HasPrefix(path, "/api/") {
			r.Header.Set("Content-Type", "application/json")
		}
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		return w.Code
	}
	if code := ask("/ui/freeze", maxForm, maxForm); code != http.StatusOK || failed != nil || read != maxForm {
		t.Errorf("status %d, %d bytes, %v: as large as a form may be", code, read, failed)
	}
	if code := ask("/ui/freeze", maxForm+1, maxForm+1); code != http.StatusRequestEntityTooLarge || read != 0 {
		t.Errorf("status %d, %d bytes: a form that is too large was taken", code, read)
	}
	var over *http.MaxBytesError
	if ask("/ui/freeze", 2*maxForm, -1); !errors.As(failed, &over) || read > maxForm {
		t.Errorf("%d bytes, %v: a form of any size was read", read, failed)
	}
	if code := ask("/api/v1/bundles", 2*maxForm, 2*maxForm); code != http.StatusOK || read != 2*maxForm {
		t.Errorf("status %d, %d bytes, %v: the API has bounds of its own", code, read, failed)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
