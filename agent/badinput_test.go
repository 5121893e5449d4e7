package agent

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// refused runs an agent that is to have the bundle that make makes, and expects
// that the host stays as it is, asks for no slot, and reports that reason.
func refused(t *testing.T, reason, says string, make func(w *world) string) {
	t.Helper()
	inBubble(t, func(t *testing.T, w *world) {
		digest := make(w)
		before := w.files()
		w.c.want(wanted(digest))
		w.start()
		f := w.fails()
		if f.Reason != reason || !f.Healthy || !strings.Contains(f.Detail, says) {
			t.Errorf("failure %+v, want %s: … %s", f, reason, says)
		}
		if n := w.c.called("acquire"); n != 0 || w.h.drains != 0 || w.h.Boots() != 0 {
			t.Errorf("%d slots asked for, %d drains, %d boots", n, w.h.drains, w.h.Boots())
		}
		if kept, err := os.ReadDir(filepath.Join(w.cfg.StateDir, "bundles")); err != nil || len(kept) > 0 {
			t.Errorf("kept: %v, %v", kept, err)
		}
		if after := w.files(); after != before {
			t.Errorf("files before:\n%s\nafter:\n%s", before, after)
		}
	})
}

// raw publishes bytes as they are.
func (w *world) raw(b []byte) string {
	d := bundle.Digest(b)
	w.c.change(func() { w.c.bundles[d] = b })
	return d
}

// one publishes a bundle with a file of that path.
func (w *world) one(path, text string, change func(m *bundle.Manifest)) string {
	m := bundle.Manifest{Name: "x", Files: []bundle.File{{Path: path, Interrupt: bundle.InterruptReboot}}}
	if change != nil {
		change(&m)
	}
	return w.publish(m, map[string]string{path: text})
}

// member makes a tar of a manifest with the file /etc/a, and of that member.
func member(t *testing.T, h tar.Header, body string) []byte {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"v": 1, "name": "x", "min_healthy_time": "0s", "healthy_deadline": "1m",
		"files": []any{map[string]any{"path": "/etc/a", "mode": "0644", "size": 1, "sha256": digest([]byte("a")), "interrupt": "reboot"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	h.Mode, h.Size = 0o644, int64(len(body))
	for _, m := range []struct {
		h    tar.Header
		body []byte
	}{{tar.Header{Name: "manifest.json", Mode: 0o644, Size: int64(len(text))}, text}, {h, []byte(body)}} {
		if err := w.WriteHeader(&m.h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestBadBundle_LeavesTheHostAndTheSlotsAlone(t *testing.T) {
	link := func(flag byte, to string) func(*world) string {
		return func(w *world) string {
			return w.raw(member(w.t, tar.Header{Name: "files/etc/a", Typeflag: flag, Linkname: to}, ""))
		}
	}
	otherArch := "s390x"
	if runtime.GOARCH == otherArch {
		otherArch = "amd64"
	}
	for name, c := range map[string]struct {
		reason, says string
		make         func(w *world) string
	}{
		"truncated": {"bundle", "cut off", func(w *world) string {
			b := member(w.t, tar.Header{Name: "files/etc/a"}, "a")
			return w.raw(b[:len(b)-1024])
		}},
		"truncated on the way": {"bundle", "", func(w *world) string {
			b := member(w.t, tar.Header{Name: "files/etc/a"}, "a")
			d := w.raw(b)
			w.c.change(func() { w.c.bundles[d] = b[:len(b)-1024] })
			return d
		}},
		"corrupted": {"bundle", "content that does not have", func(w *world) string {
			return w.raw(member(w.t, tar.Header{Name: "files/etc/a"}, "b"))
		}},
		"oversized": {"bundle", "at most 1048576 bytes", func(w *world) string {
			return w.raw(make([]byte, bundle.MaxSize+1))
		}},
		"path upwards": {"bundle", "files/../../etc/a", func(w *world) string {
			return w.raw(member(w.t, tar.Header{Name: "files/../../etc/a"}, "a"))
		}},
		"absolute name":    {"bundle", "/etc/a", func(w *world) string { return w.raw(member(w.t, tar.Header{Name: "/etc/a"}, "a")) }},
		"symbolic link":    {"bundle", "a symbolic link", link(tar.TypeSymlink, "../../etc/shadow")},
		"absolute link":    {"bundle", "a symbolic link", link(tar.TypeSymlink, "/etc/shadow")},
		"hard link":        {"bundle", "a hard link", link(tar.TypeLink, "/etc/shadow")},
		"block device":     {"bundle", "a device", link(tar.TypeBlock, "")},
		"character device": {"bundle", "a device", link(tar.TypeChar, "")},
		"named pipe":       {"bundle", "a named pipe", link(tar.TypeFifo, "")},
		"another processor's": {"requires", "the bundle is for " + otherArch + ", and this host is " + runtime.GOARCH, func(w *world) string {
			return w.one("/etc/a", "a", func(m *bundle.Manifest) { m.Requires = &bundle.Requires{Arch: []string{otherArch}} })
		}},
		"another label's": {"requires", "hosts with label zone b or c, and this host has a", func(w *world) string {
			return w.one("/etc/a", "a", func(m *bundle.Manifest) {
				m.Requires = &bundle.Requires{Labels: map[string][]string{"zone": {"b", "c"}}}
			})
		}},
		"a missing label's": {"requires", "hosts with label role web, and this host has none", func(w *world) string {
			return w.one("/etc/a", "a", func(m *bundle.Manifest) {
				m.Requires = &bundle.Requires{Labels: map[string][]string{"role": {"web"}}}
			})
		}},
		"another system's": {"requires", "VERSION_ID of os-release 13, and this host has 12", func(w *world) string {
			w.write("etc/os-release", "# a comment\nID=debian\nVERSION_ID=\"12\"\n", 0o644)
			return w.one("/etc/a", "a", func(m *bundle.Manifest) {
				m.Requires = &bundle.Requires{OSRelease: map[string][]string{"ID": {"debian"}, "VERSION_ID": {"13"}}}
			})
		}},
		"an unknown system's": {"requires", "not known", func(w *world) string {
			return w.one("/etc/a", "a", func(m *bundle.Manifest) {
				m.Requires = &bundle.Requires{OSRelease: map[string][]string{"ID": {"debian"}}}
			})
		}},
		"template without a value": {"render", "no value for {{label.rack}}", func(w *world) string {
			return w.one("/etc/a", "{{label.rack}}", func(m *bundle.Manifest) { m.Files[0].Render = true })
		}},
		"template of a word nobody knows": {"render", "no value for {{hostname}}", func(w *world) string {
			return w.one("/etc/a", "{{hostname}}", func(m *bundle.Manifest) { m.Files[0].Render = true })
		}},
		"owner that is not there": {"plan", "nobody-knows-this-user", func(w *world) string {
			return w.one("/etc/a", "a", func(m *bundle.Manifest) { m.Files[0].Owner = "nobody-knows-this-user:root" })
		}},
		"outside of what is allowed": {"path", "/usr/lib/a is outside of what this agent may write; accepted: paths below /etc, /srv", func(w *world) string {
			w.cfg.Paths = []string{"/etc", "/srv"}
			return w.one("/usr/lib/a", "a", nil)
		}},
		"beside what is allowed": {"path", "/etc2/a is outside", func(w *world) string {
			w.cfg.Paths = []string{"/etc"}
			return w.one("/etc2/a", "a", nil)
		}},
		"the kernel's": {"path", "/proc/sys/kernel/panic is in /proc", func(w *world) string { return w.one("/proc/sys/kernel/panic", "1", nil) }},
		"the agent's own state": {"path", "where this agent keeps its own state", func(w *world) string {
			w.cfg.StateDir = filepath.Join(w.root, "agent")
			return w.one("/agent/journal.json", "{}", nil)
		}},
		"through a link on the host": {"path", `/bin: it is a symbolic link to "usr/bin"`, func(w *world) string {
			w.write("usr/bin/a", "old", 0o755)
			if err := os.Symlink("usr/bin", filepath.Join(w.root, "bin")); err != nil {
				w.t.Fatal(err)
			}
			return w.one("/bin/a", "a", nil)
		}},
		"through a link out of the root": {"path", "/out: it is a symbolic link", func(w *world) string {
			if err := os.Symlink(w.t.TempDir(), filepath.Join(w.root, "out")); err != nil {
				w.t.Fatal(err)
			}
			return w.one("/out/a", "a", nil)
		}},
	} {
		t.Run(name, func(t *testing.T) { refused(t, c.reason, c.says, c.make) })
	}
}

func TestRequires_AHostThatIsLikeThatTakesTheBundle(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.write("usr/lib/os-release", "ID=debian\nVERSION_ID='12'\n", 0o644)
		if err := os.MkdirAll(filepath.Join(w.root, "etc"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("../usr/lib/os-release", filepath.Join(w.root, "etc/os-release")); err != nil {
			t.Fatal(err)
		}
		digest := w.one("/etc/a", "a", func(m *bundle.Manifest) {
			m.Files[0].Interrupt = bundle.InterruptNone
			m.Requires = &bundle.Requires{
				Arch: []string{"mips64le", runtime.GOARCH}, Labels: map[string][]string{"zone": {"b", "a"}},
				OSRelease: map[string][]string{"ID": {"debian", "ubuntu"}, "VERSION_ID": {"12"}},
			}
		})
		w.c.want(wanted(digest))
		w.start()
		w.until("applied", func() bool { return w.journal().Applied == digest })
		w.settled()
		w.stop()
	})
}
