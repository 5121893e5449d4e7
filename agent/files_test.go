package agent

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func noStep(string) error { return nil }

// of is a target with that text.
func of(path, text string, mode fs.FileMode, uid, gid int) target {
	t := target{path: path, mode: mode, uid: uid, gid: gid}
	t.text([]byte(text))
	return t
}

// seen is a file as look sees it, with its content.
func (tr *tree) seen(t *testing.T, path string) (present, string) {
	t.Helper()
	now, err := tr.look(path)
	if err != nil || !now.exists() {
		t.Fatalf("%s: %+v, %v", path, now, err)
	}
	defer now.Close()
	text, err := io.ReadAll(now.file)
	if err != nil {
		t.Fatal(err)
	}
	return now, string(text)
}

// install installs without more ado.
func (tr *tree) mustInstall(t *testing.T, all ...target) {
	t.Helper()
	if err := tr.install("id", all); err != nil {
		t.Fatal(err)
	}
}

func treeAt(t *testing.T, root string) *tree {
	t.Helper()
	tr, err := openTree(root, noStep)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.root.Close() })
	return tr
}

func TestInstall_NoSymbolicLinkLeadsOutOfTheRoot(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(root, "etc")); err != nil {
		t.Fatal(err)
	}
	tr := treeAt(t, root)
	all := []target{of("etc/a", "a", 0o644, -1, -1)}
	if _, err := tr.diff(all); err == nil {
		t.Error("looked outside")
	}
	if err := tr.install("id", all); err == nil {
		t.Error("wrote outside")
	}
	if left, _ := os.ReadDir(outside); len(left) != 0 {
		t.Errorf("outside: %v", left)
	}
}

func TestDiff_ALinkOrFolderInThePlaceOfAFileIsRefusedByName(t *testing.T) {
	root := t.TempDir()
	if err := os.Symlink("b", filepath.Join(root, "a")); err != nil {
		t.Fatal(err)
	}
	_, err := treeAt(t, root).diff([]target{{path: "a"}})
	if err == nil || !strings.Contains(err.Error(), "/a: it is a symbolic link; accepted: a regular file, or nothing") {
		t.Errorf("got %v", err)
	}
}

func TestPutBack_GivesModeAndOwnerBackToo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to give files away")
	}
	root, dir := t.TempDir(), filepath.Join(t.TempDir(), "g")
	file := filepath.Join(root, "tool")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 12, 34); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Chmod(file, 0o4751); err != nil {
		t.Fatal(err)
	}
	tr := treeAt(t, root)
	all := []target{of("tool", "new", 0o644, 0, 0)}
	g, err := tr.save(dir, "d", all)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.install("id", all); err != nil {
		t.Fatal(err)
	}
	if left, err := tr.diff(all); err != nil || len(left) > 0 {
		t.Fatalf("not installed: %v, %v", left, err)
	}
	for range 2 { // it bears being repeated
		if err := tr.putBack("id", dir, g); err != nil {
			t.Fatal(err)
		}
	}
	if now, text := tr.seen(t, "tool"); text != "old" || now.mode != 0o4751 || now.uid != 12 || now.gid != 34 {
		t.Errorf("put back %+v, %q", now, text)
	}
}

func TestInstall_WithoutAnOwnerTheFileKeepsTheOneThatItHad(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to give files away")
	}
	root := t.TempDir()
	file := filepath.Join(root, "a")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 12, 34); err != nil {
		t.Fatal(err)
	}
	tr := treeAt(t, root)
	for _, text := range []string{"new", "newer"} {
		tr.mustInstall(t, of("a", text, 0o640, -1, -1))
	}
	if now, text := tr.seen(t, "a"); text != "newer" || now.mode != 0o640 || now.uid != 12 || now.gid != 34 {
		t.Errorf("installed %+v, %q", now, text)
	}
}

// links makes what a path could be led away by, below root.
func links(t *testing.T, root, outside string) {
	t.Helper()
	for _, dir := range []string{"etc", "srv/www", "usr/bin"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"etc/a", "etc/twin"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{
		"bin": "usr/bin", "out": outside, "up": "../../..", "etc/link": "a", "etc/dangling": "nothing", "srv/loop": "loop",
	} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(root, "etc/twin"), filepath.Join(root, "srv/twin")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(root, "etc/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ledAway are paths that links leads away, and what is said of them.
var ledAway = map[string]string{
	"bin/tool":     `/bin: it is a symbolic link to "usr/bin"`,
	"out/a":        "/out: it is a symbolic link",
	"up/etc/a":     "/up: it is a symbolic link",
	"srv/loop/a":   "/srv/loop: it is a symbolic link",
	"etc/link":     "/etc/link: it is a symbolic link; accepted: a regular file, or nothing",
	"etc/dangling": "/etc/dangling: it is a symbolic link",
	"etc/pipe":     "/etc/pipe: it is a special file",
	"etc/twin":     "2 names (hard links)",
	"etc/a/b":      "/etc/a: it is a special file",
	"srv/www":      "/srv/www: it is a folder",
}

func TestTree_NothingIsReadOrWrittenThroughALink(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	links(t, root, outside)
	tr := treeAt(t, root)
	for path, want := range ledAway {
		all := []target{of(path, "new", 0o644, -1, -1)}
		_, err := tr.diff(all)
		if disk(err, "") != "path" || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "accepted: ") {
			t.Errorf("%s: diff says %v, want %s", path, err, want)
		}
		if err := tr.install("id", all); err == nil {
			t.Errorf("%s was written", path)
		}
	}
	for _, name := range []string{"etc/a", "etc/twin", "srv/twin"} {
		if text, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(text) != "old" {
			t.Errorf("%s is %q, %v", name, text, err)
		}
	}
	for _, dir := range []string{outside, filepath.Join(root, "usr/bin"), filepath.Join(root, "srv/www")} {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: %v, %v", dir, left, err)
		}
	}
}

func TestTree_AFolderThatBecomesALinkMeanwhileIsNotFollowed(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "srv"), 0o755); err != nil {
		t.Fatal(err)
	}
	tr := treeAt(t, root)
	all := []target{of("srv/a", "a", 0o644, -1, -1), of("srv/b", "b", 0o644, -1, -1)}
	tr.step = func(name string) error {
		if name != "temp srv/b" {
			return nil
		}
		// Who owns the folder turns it into a link between writing and renaming.
		if err := os.Rename(filepath.Join(root, "srv"), filepath.Join(root, "gone")); err != nil {
			return err
		}
		return os.Symlink(outside, filepath.Join(root, "srv"))
	}
	if err := tr.install("id", all); disk(err, "") != "path" {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside: %v, %v", left, err)
	}
}

func TestInstall_MadeFoldersHaveOneModeWhateverTheUmask(t *testing.T) {
	umask := syscall.Umask(0o077)
	defer syscall.Umask(umask)
	root := t.TempDir()
	treeAt(t, root).mustInstall(t, of("srv/www/a", "a", 0o644, -1, -1))
	for _, name := range []string{"srv", "srv/www"} {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestInstall_ContentThatChangedSinceItWasVerifiedIsNotPutInPlace(t *testing.T) {
	root := t.TempDir()
	tr := treeAt(t, root)
	want := of("a", "new", 0o644, -1, -1)
	want.sum = digest([]byte("NEW"))
	if err := tr.install("id", []target{want}); err == nil || !strings.Contains(err.Error(), "/a: its content changed") {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestRender_SaysWhichValueIsMissingAndWhatThereIs(t *testing.T) {
	c := Config{Node: "n", Group: "g", Labels: map[string]string{"zone": "a", "role": "web"}}
	got, err := c.render("/x", []byte("{{node}} {{ group }} {{label.zone}} { {"))
	if err != nil || string(got) != "n g a { {" {
		t.Errorf("%q, %v", got, err)
	}
	_, err = c.render("/x", []byte("{{label.rack}} {{node}} {{hostname}}"))
	if err == nil || err.Error() != "/x: no value for {{hostname}}, {{label.rack}}; accepted: {{node}}, {{group}}, {{label.NAME}} with a label of this host (role, zone)" {
		t.Errorf("got %v", err)
	}
}
