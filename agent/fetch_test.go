package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle/signature"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

func key(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// trusts makes the agent trust that key, as alice's.
func (w *world) trusts(k ssh.Signer) {
	w.t.Helper()
	var err error
	if w.cfg.Trust, err = signature.ParseTrust(append([]byte("alice "), ssh.MarshalAuthorizedKey(k.PublicKey())...)); err != nil {
		w.t.Fatal(err)
	}
}

// signs gives the coordinator a signature of digest for the bundle of.
func (w *world) signs(k ssh.Signer, digest, of string) {
	w.t.Helper()
	text, err := signature.Sign(digest, k)
	if err != nil {
		w.t.Fatal(err)
	}
	w.c.change(func() {
		b := w.c.known[of]
		b.Signatures = append(b.Signatures, text)
		w.c.known[of] = b
	})
}

func TestTrust_ABundleThatNobodyTrustedHasSignedIsNotEvenFetched(t *testing.T) {
	for what, c := range map[string]struct {
		sign func(w *world, alice ssh.Signer, digest string)
		says string
	}{
		"unsigned":            {func(*world, ssh.Signer, string) {}, "it has no signature; accepted: one by alice"},
		"by another key":      {func(w *world, _ ssh.Signer, d string) { w.signs(key(w.t), d, d) }, "is not among the trusted ones"},
		"for another bundle":  {func(w *world, alice ssh.Signer, d string) { w.signs(alice, strings.Repeat("0", 64), d) }, "is not of the bundle"},
		"by a text of no use": {func(w *world, _ ssh.Signer, d string) { w.c.known[d] = api.Bundle{Signatures: []string{"signed, ann"}} }, "not an SSH signature"},
	} {
		t.Run(what, func(t *testing.T) {
			var w0 *world
			refused(t, "signature", c.says, func(w *world) string {
				w0 = w
				alice := key(t)
				w.trusts(alice)
				digest := w.one("/etc/a", "a", nil)
				c.sign(w, alice, digest)
				return digest
			})
			if n := w0.c.called("bundle"); n != 0 {
				t.Errorf("fetched %d times", n)
			}
		})
	}
}

func TestTrust_ABundleThatIsSignedLaterIsTakenWhenAPersonAsksAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		alice := key(t)
		w.trusts(alice)
		digest := w.one("/etc/a", "a", nil)
		w.c.want(wanted(digest))
		w.start()
		w.until("refused", w.reported(func(r api.Report) bool { return r.Failure != nil }))
		w.signs(key(t), digest, digest) // of no use here
		w.signs(alice, digest, digest)
		again := wanted(digest)
		again.Attempt++
		w.c.want(again)
		w.until("applied", func() bool { return w.journal().Applied == digest })
		w.settled()
		w.stop()
		if got := w.files(); got != "./\netc/\netc/a 0644 \"a\"\n" {
			t.Error(got)
		}
	})
}

func TestTrust_KeysThatComeWhileABundleWaitsForItsSlotCountForItToo(t *testing.T) {
	for _, signed := range []bool{false, true} {
		inBubble(t, func(t *testing.T, w *world) {
			alice := key(t)
			digest := w.standard(bundle.InterruptReboot)
			if signed {
				w.trusts(alice)
				w.signs(alice, digest, digest)
			}
			w.c.change(func() { w.c.others = 1 })
			w.c.want(wanted(digest))
			w.start()
			w.phase(api.PhaseWaiting)
			w.stop()
			w.trusts(alice)
			w.c.change(func() { w.c.others, w.c.known[digest] = 0, api.Bundle{} }) // and nobody can be asked
			w.start()
			if signed {
				w.until("applied", func() bool { return w.journal().Applied == digest })
				w.settled()
				w.stop()
				return
			}
			if f := w.fails(); f.Reason != "signature" || !f.Healthy {
				t.Errorf("failure %+v", f)
			}
			if got := w.files(); got != standardBefore || w.h.Boots() != 0 {
				t.Errorf("%d boots, files:\n%s", w.h.Boots(), got)
			}
		})
	}
}

func TestTrust_WhatIsFetchedAnewForAHealthCheckMustBeTrustedToo(t *testing.T) {
	n := 0
	body := large(t, "x")
	a, c, url := fetcher(t, func(http.ResponseWriter, *http.Request) []byte {
		n++
		return body
	})
	w := &world{t: t, c: c}
	w.trusts(key(t))
	a.cfg.Trust = w.cfg.Trust
	digest := bundle.Digest(body)
	c.known[digest] = api.Bundle{URL: url, Size: int64(len(body))}
	if _, err := a.bundle(t.Context(), digest); forGood(err) != "signature" || n != 0 {
		t.Errorf("%v, fetched %d times", err, n)
	}
}

// stuttering is a Downloader whose server brings a part, and then nothing.
type stuttering struct {
	parts int // that come, one a call
	calls int
}

func (*stuttering) Accepts(string) error { return nil }

func (s *stuttering) Fetch(_ context.Context, _ string, _ int64, file string) (bool, error) {
	s.calls++
	if s.calls <= s.parts {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return false, err
		}
		defer f.Close()
		if _, err := f.WriteString("part"); err != nil {
			return false, err
		}
	}
	return false, errors.New("connection reset")
}

func TestDownload_AURLThatBringsNothingIsGivenUpAndReported(t *testing.T) {
	refused(t, "download", "for 15m0s nothing has come of the bundle at its URL: connection reset", func(w *world) string {
		w.cfg.Downloader = &stuttering{parts: 3}
		digest := strings.Repeat("ab", 32)
		w.c.known[digest] = api.Bundle{URL: "https://files.example/x", Size: 100}
		return digest
	})
}

func TestDownload_IsLeftWhenTheBundleIsNotWantedAnyMore(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := &stuttering{parts: 1 << 30} // it always goes on
		w.cfg.Downloader = s
		digest := strings.Repeat("ab", 32)
		w.c.known[digest] = api.Bundle{URL: "https://files.example/x", Size: 100}
		w.c.want(wanted(digest))
		w.start()
		time.Sleep(time.Hour)
		w.c.want(nil)
		time.Sleep(time.Hour)
		w.stop()
		if s.calls < 100 || s.calls > 130 || w.journal().Failure != nil {
			t.Errorf("%d calls, failure %+v", s.calls, w.journal().Failure)
		}
	})
}

func TestDownload_ABundleThatIsTooLargeForThisHostIsNotBegun(t *testing.T) {
	for size, says := range map[int64]string{300 << 20: "at most 268435456 on this host", 100: "accepted: bundles that the coordinator stores"} {
		refused(t, "bundle", says, func(w *world) string {
			digest := strings.Repeat("ab", 32)
			w.c.known[digest] = api.Bundle{URL: "https://files.example/x", Size: size}
			return digest
		})
	}
}

// fetcher is an agent that runs nothing, and a server of files for it.
func fetcher(t *testing.T, handle func(w http.ResponseWriter, r *http.Request) []byte) (*Agent, *coordinator, string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(handle(w, r)))
	}))
	t.Cleanup(srv.Close)
	d, err := client.NewDownloader(client.DownloaderConfig{Sources: []string{srv.URL + "/"}})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.cfg.Downloader = d
	a := New(w.cfg)
	if err := a.cfg.complete(); err != nil {
		t.Fatal(err)
	}
	a.log = slog.New(slog.DiscardHandler)
	unlock, err := a.dir.make()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unlock)
	return a, w.c, srv.URL + "/web.bundle"
}

// large is a bundle that no coordinator would store.
func large(t *testing.T, text string) []byte {
	t.Helper()
	var buf bytes.Buffer
	_, err := bundle.Write(&buf, bundle.MaxLinked, bundle.Manifest{Name: "large", Files: []bundle.File{{Path: "/srv/a"}, {Path: "/srv/b"}}},
		map[string]bundle.Source{"/srv/a": bundle.Text(strings.Repeat(text, 3<<20)), "/srv/b": bundle.Text("b")})
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestDownload_ALargeBundleIsVerifiedAndKept(t *testing.T) {
	body := large(t, "x")
	n := 0
	a, c, url := fetcher(t, func(http.ResponseWriter, *http.Request) []byte {
		n++
		return body
	})
	digest := bundle.Digest(body)
	c.known[digest] = api.Bundle{URL: url, Size: int64(len(body))}
	for range 2 {
		b, err := a.bundle(t.Context(), digest)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := b.Content("/srv/b"); err != nil || string(text) != "b" {
			t.Errorf("%q, %v", text, err)
		}
	}
	if n != 1 {
		t.Errorf("fetched %d times", n)
	}
	// What is kept and changes is fetched anew.
	if err := os.WriteFile(a.dir.path("bundles", digest+".tar"), body[:1<<20], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.bundle(t.Context(), digest); err != nil || n != 2 {
		t.Errorf("%v, fetched %d times", err, n)
	}
}

func TestDownload_OtherBytesAreRefusedAndLeaveNothing(t *testing.T) {
	body := large(t, "x")
	for what, bytes := range map[string][]byte{
		"corrupted": append(append([]byte{}, body[:2<<20]...), append([]byte{'y'}, body[2<<20+1:]...)...),
		"another":   large(t, "z"),
	} {
		a, c, url := fetcher(t, func(http.ResponseWriter, *http.Request) []byte { return bytes })
		digest := bundle.Digest(body)
		c.known[digest] = api.Bundle{URL: url, Size: int64(len(body))}
		_, err := a.bundle(t.Context(), digest)
		if forGood(err) != "bundle" {
			t.Errorf("%s: %v", what, err)
		}
		if left, err := os.ReadDir(a.dir.path("bundles")); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", what, left, err)
		}
	}
}

func TestDownload_PartsThatDoNotFitTogetherAreFetchedAnew(t *testing.T) {
	body := large(t, "x")
	a, c, url := fetcher(t, func(http.ResponseWriter, *http.Request) []byte { return body })
	digest := bundle.Digest(body)
	c.known[digest] = api.Bundle{URL: url, Size: int64(len(body))}
	for name, text := range map[string]string{digest: "of a file that was replaced there", strings.Repeat("0", 64): "of another bundle"} {
		if err := os.WriteFile(a.dir.path("bundles", name+".part"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.bundle(t.Context(), digest); err == nil || forGood(err) != "" || !strings.Contains(err.Error(), "once more from the beginning") {
		t.Errorf("got %v", err)
	}
	if _, err := a.bundle(t.Context(), digest); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(a.dir.path("bundles", "*")); err != nil || len(left) != 1 {
		t.Errorf("left %v, %v", left, err)
	}
}
