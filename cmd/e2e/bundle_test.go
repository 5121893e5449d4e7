package e2e

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle/create"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// files is a web server whose content a test changes, and breaks off.
type files struct {
	*httptest.Server
	mu     sync.Mutex
	byPath map[string][]byte
	cut    int      // break off after so many bytes, once
	ranges []string // that were asked for
}

func serveFiles(t *testing.T) *files {
	f := &files{byPath: map[string][]byte{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	body, ok := f.byPath[r.URL.Path]
	cut := f.cut
	f.cut = 0
	f.ranges = append(f.ranges, r.Header.Get("Range"))
	f.mu.Unlock()
	switch {
	case !ok:
		http.NotFound(w, r)
	case cut > 0:
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write(body[:cut])
		panic(http.ErrAbortHandler)
	default:
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}
}

func (f *files) put(path string, body []byte) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.byPath[path] = body
	return f.URL + path
}

func (f *files) breakOff(after int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = after
}

func (f *files) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ranges)
}

func nodeOf(t *testing.T, server, id string) (n api.Node) {
	t.Helper()
	getJSON(t, server+"/api/v1/nodes/"+id, &n)
	return n
}

// failed waits until a host has failed with a bundle, for that reason.
func failed(t *testing.T, server, node, digest, reason string) {
	t.Helper()
	var last *api.Failure
	eventually(t, node+" has refused the bundle "+digest+" ("+reason+")", func() bool {
		last = nodeOf(t, server, node).Report.Failure
		return last != nil && last.Bundle == digest
	})
	if last.Reason != reason || !last.Healthy {
		t.Errorf("failure %+v, want %s", last, reason)
	}
}

// A large bundle lies on a web server that breaks off; a host that trusts a key
// takes it when it is signed, and not before.
func TestBundle_ALargeOneIsFetchedFromItsURLOnceItIsSigned(t *testing.T) {
	t.Parallel()
	c, web, dir := startCoordinator(t), serveFiles(t), t.TempDir()
	key := filepath.Join(dir, "release")
	must0(t, os.WriteFile(filepath.Join(dir, "allowed"), []byte(must(t, c.url, "bundle", "keygen", key, "--name", "release@example.com")), 0o600))
	w := newWitness(t)
	host := startFleet(t, w, c.url, 1, "--trusted-keys", filepath.Join(dir, "allowed"), "--bundle-source", web.URL+"/", "--allow-path", "/etc,/srv")[0]

	large := strings.Repeat("0123456789abcdef", 3<<16)
	source := writeFiles(t, filepath.Join(dir, "web"), map[string]string{
		"bundle.yaml":        "name: web\nversion: 7\ndefault_interrupt: reboot\nmin_healthy_time: 1s\n",
		"files/etc/app.conf": "new\n", "files/srv/data": large,
	})
	file := filepath.Join(dir, "web.bundle")
	digest := strings.TrimSpace(must(t, c.url, "bundle", "create", source, "--output", file))
	body, err := os.ReadFile(file)
	must0(t, err)
	url := web.put("/web.bundle", body)
	web.breakOff(len(body) / 2)
	_, errs, code := lockkeeper(t, c.url, "bundle", "upload", file)
	wantWords(t, errs, "say where with --url")
	if code != 2 {
		t.Errorf("upload of a large file: exit %d", code)
	}
	if got := strings.TrimSpace(must(t, c.url, "bundle", "upload", file, "--url", url)); got != digest {
		t.Fatalf("upload printed %q", got)
	}

	id := startRollout(t, c.url, digest)
	failed(t, c.url, host.node, digest, "signature")
	wantWords(t, must(t, c.url, "node", "show", host.node), "signature, bundle "+digest[:12], "it has no signature; accepted: one by release@example.com")
	if asked := web.asked(); len(asked) != 0 || w.count(t, "down "+host.node) != 0 {
		t.Errorf("an unsigned bundle was fetched (%d times), or the host drained", len(asked))
	}

	// The rollout hears of a failure behind the report of it.
	eventually(t, "the rollout has halted", func() bool { return rolloutOf(t, c.url, id).State == api.RolloutHalted })
	must(t, c.url, "bundle", "sign", digest[:8], "--key", key)
	must(t, c.url, "rollout", "retry", id)
	eventually(t, "the bundle is in place", func() bool { return rolloutOf(t, c.url, id).State == api.RolloutSucceeded })
	if host.file(t, "etc/app.conf") != "new\n" || host.file(t, "srv/data") != large {
		t.Error("the files are not those of the bundle")
	}
	if asked := web.asked(); len(asked) != 2 || asked[0] != "" || !strings.HasPrefix(asked[1], "bytes=") {
		t.Errorf("it was asked for %q: want all of it, and then what was missing", asked)
	}

	shown := must(t, c.url, "bundle", "show", digest[:8])
	wantWords(t, shown, "Lies at", url, "Signed by", "SHA256:", "/srv/data", "Version")
	wantWords(t, must(t, c.url, "bundle", "diff", digest[:8], file), "The two are one")
}

// badTar is a bundle's tar with a manifest for /etc/app.conf, and that member.
func badTar(t *testing.T, h tar.Header, body string) []byte {
	t.Helper()
	text, err := json.Marshal(manifestFor("new\n"))
	must0(t, err)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	must0(t, w.WriteHeader(&tar.Header{Name: "manifest.json", Mode: 0o644, Size: int64(len(text))}))
	_, err = w.Write(text)
	must0(t, err)
	h.Mode, h.Size = 0o644, int64(len(body))
	must0(t, w.WriteHeader(&h))
	_, err = w.Write([]byte(body))
	must0(t, err)
	must0(t, w.Close())
	return buf.Bytes()
}

func manifestFor(content string) map[string]any {
	return map[string]any{
		"v": 1, "name": "bad", "min_healthy_time": "0s", "healthy_deadline": "1m",
		"files": []any{map[string]any{"path": "/etc/app.conf", "mode": "0644", "size": len(content), "sha256": bundle.Digest([]byte(content)), "interrupt": "reboot"}},
	}
}

// Bad bundles come to a host by way of its coordinator, which stores none of
// them where it can see them. The host stays as it is, takes no slot, and says why.
func TestBundle_BadOnesAreRefusedByTheHostAndSeenInNodeShow(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		if os.Getenv("LOCKKEEPER_TEST_REQUIRE_ALL") != "" {
			t.Fatal("needs root to mount a disk")
		}
		t.Skip("needs root to mount a disk")
	}
	c, web := startCoordinator(t), serveFiles(t)
	w := newWitness(t)
	host := startFleet(t, w, c.url, 1, "--bundle-source", web.URL+"/", "--allow-path", "/etc,/mnt", "--label", "zone=a")[0]
	// A disk that is full, and one that takes no writes.
	for dir, how := range map[string]struct {
		flags uintptr
		size  string
	}{"mnt/full": {0, "size=16k"}, "mnt/readonly": {syscall.MS_RDONLY, "size=1m"}} {
		at := filepath.Join(host.dir, "root", dir)
		must0(t, os.MkdirAll(at, 0o755))
		must0(t, syscall.Mount("tmpfs", at, "tmpfs", how.flags, how.size))
		t.Cleanup(func() { must0(t, syscall.Unmount(at, syscall.MNT_DETACH)) })
	}
	must0(t, os.Symlink("../../../../../../etc", filepath.Join(host.dir, "root", "etc", "out")))

	// The programs take a second to end, with the race detector.
	asked, err := client.New(client.Config{Servers: []string{c.url}})
	must0(t, err)
	defer asked.Close()
	// link makes bytes known as a bundle at a URL.
	link := func(name string, size int64, body []byte) func(t *testing.T) string {
		return func(t *testing.T) string {
			t.Helper()
			digest := bundle.Digest([]byte(name))
			if body != nil {
				digest = bundle.Digest(body)
			}
			if size == 0 {
				size = int64(len(body))
			}
			url := web.URL + "/nowhere"
			if body != nil {
				url = web.put("/"+strings.ReplaceAll(name, " ", "-"), body)
			}
			_, _, err := asked.LinkBundle(t.Context(), digest, api.BundleLink{URL: url, Size: size, Manifest: manifestFor("new\n")})
			must0(t, err)
			return digest
		}
	}
	// made is a proper bundle.
	made := func(path, content, manifest string) func(t *testing.T) string {
		return func(t *testing.T) string {
			t.Helper()
			var text bytes.Buffer
			_, err := create.Build(writeFiles(t, t.TempDir(), map[string]string{
				"bundle.yaml": "name: made\ndefault_interrupt: reboot\n" + manifest, "files" + path: content,
			}), &text, bundle.MaxSize)
			must0(t, err)
			b, _, err := asked.CreateBundle(t.Context(), &text, "")
			must0(t, err)
			return b.Digest
		}
	}
	good := badTar(t, tar.Header{Name: "files/etc/app.conf"}, "new\n")
	other := bytes.Replace(bytes.Clone(good), []byte("new\n"), []byte("nEw\n"), 1)
	for name, b := range map[string]struct {
		digest       func(t *testing.T) string
		reason, says string
	}{
		"truncated":       {link("truncated", 0, good[:len(good)-1024]), "bundle", "cut off"},
		"corrupted":       {link("corrupted", 0, other), "bundle", "content that does not have the manifest"},
		"oversized":       {link("oversized", 300<<20, nil), "bundle", "at most 268435456 on this host"},
		"not there":       {link("not there", 100, nil), "bundle", "404 Not Found"},
		"path upwards":    {link("path upwards", 0, badTar(t, tar.Header{Name: "files/../../etc/app.conf"}, "new\n")), "bundle", "a path without . or .. or //"},
		"symbolic link":   {link("symbolic link", 0, badTar(t, tar.Header{Name: "files/etc/app.conf", Typeflag: tar.TypeSymlink, Linkname: "/etc/shadow"}, "")), "bundle", "a symbolic link"},
		"device":          {link("device", 0, badTar(t, tar.Header{Name: "files/etc/app.conf", Typeflag: tar.TypeBlock, Devmajor: 8}, "")), "bundle", "a device"},
		"another machine": {made("/etc/app.conf", "new\n", "requires: {arch: s390x}\n"), "requires", "the bundle is for s390x, and this host is"},
		"another label":   {made("/etc/app.conf", "newer\n", "requires: {labels: {zone: b}}\n"), "requires", "label zone b, and this host has a"},
		"template":        {made("/etc/app.conf", "{{label.rack}}\n", "files: {/etc/app.conf: {render: true}}\n"), "render", "no value for {{label.rack}}"},
		"forbidden path":  {made("/usr/bin/app", "#!/bin/sh\n", ""), "path", "outside of what this agent may write; accepted: paths below /etc, /mnt"},
		"through a link":  {made("/etc/out/passwd", "x\n", ""), "path", "/etc/out: it is a symbolic link"},
		"full disk":       {made("/mnt/full/data", strings.Repeat("x", 64<<10), ""), "disk", "bytes free; needed: "},
		"read-only disk":  {made("/mnt/readonly/data", "x\n", ""), "disk", "mounted read-only"},
	} {
		t.Run(name, func(t *testing.T) {
			digest := b.digest(t)
			started, _, err := asked.CreateRollout(t.Context(), api.RolloutSpec{Bundle: digest, Group: "default"}, "")
			must0(t, err)
			failed(t, c.url, host.node, digest, b.reason)
			shown := strings.Join(strings.Fields(must(t, c.url, "node", "show", host.node)), " ")
			wantWords(t, shown, b.reason+", bundle "+digest[:12], b.says)
			eventually(t, "the rollout has halted", func() bool { return rolloutOf(t, c.url, started.ID).State == api.RolloutHalted })
			_, err = asked.RolloutAction(t.Context(), started.ID, "abort", api.RolloutActionRequest{Reason: "the next one"})
			must0(t, err)
		})
	}
	if n := w.count(t, "down "+host.node) + w.count(t, "reboot "+host.node); n != 0 {
		t.Errorf("the host was drained or rebooted %d times", n)
	}
	if got := host.file(t, "etc/app.conf"); got != "old\n" {
		t.Errorf("the host has %q", got)
	}
	var g api.Group
	getJSON(t, c.url+"/api/v1/groups/default", &g)
	if len(g.Holds) != 0 {
		t.Errorf("holds: %+v", g.Holds)
	}
}

// A disk that fails while files are put in place, at the call where that hurts.
func TestBundle_ADiskThatFailsMeanwhileEndsInOneGenerationOrTheOther(t *testing.T) {
	t.Parallel()
	strace := needTool(t, "strace")
	for name, f := range map[string]struct {
		inject, reason, says string
		want                 string // in the file at the end
	}{
		"no room to rename":       {"renameat,renameat2:error=ENOSPC:when=1", "disk", "no space left", "old\n"},
		"a folder that is lost":   {"fsync:error=EIO", "disk", "rolled back, and then: the previous files could not be put back: /etc: input/output error", "old\n"},
		"killed before a rename":  {"renameat,renameat2:signal=KILL:when=1", "", "", "new\n"},
		"killed before the fsync": {"fsync:signal=KILL:when=1", "", "", "new\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, w, once := startCoordinator(t), newWitness(t), filepath.Join(t.TempDir(), "traced")
			// Only calls about the folder fail, and only in the first agent: the one
			// that is started after its death runs by itself.
			line := fmt.Sprintf(`for a; do [ "$p" = --root ] && root=$a; p=$a; done
				mkdir %s 2>/dev/null || exec "$@"
				exec %s -D -f -qq -o /dev/null -P "$root/etc" -e trace=renameat,renameat2,fsync -e inject=%s "$@"`, once, strace, f.inject)
			host := startMachineOf(t, w, "host-1", c.url, []string{"/bin/sh", "-c", line, "sh", program("lockkeeper-agent")})
			reports(t, c.url, "host-1")
			digest := pushBundle(t, c.url, "new", "")
			id := startRollout(t, c.url, digest)
			if f.reason == "" {
				eventually(t, "the bundle is in place", func() bool { return rolloutOf(t, c.url, id).State == api.RolloutSucceeded })
			} else {
				// The slot is kept where nobody can say that the old files are there to stay.
				lost := strings.HasPrefix(f.inject, "fsync")
				eventually(t, "the failure is reported, and the slot returned or kept", func() bool {
					n := nodeOf(t, c.url, "host-1")
					r := n.Report.Failure
					return r != nil && r.Reason == f.reason && r.Healthy == !lost && (n.Hold != nil) == lost && (lost == (n.Report.Phase == api.PhaseFailed))
				})
				wantWords(t, must(t, c.url, "node", "show", "host-1"), f.says)
			}
			if got := host.file(t, "etc/app.conf"); got != f.want {
				t.Errorf("the host has %q, want %q", got, f.want)
			}
			left, err := filepath.Glob(filepath.Join(host.dir, "root", "etc", ".*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
			if starts := w.count(t, "reboot host-1"); (f.want == "new\n") != (starts == 1) {
				t.Errorf("%d reboots", starts)
			}
		})
	}
}
