package agent

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

func noStep(string) error { return nil }

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
	all := []target{{path: "etc/a", content: []byte("a"), mode: 0o644, uid: -1, gid: -1}}
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
	if err == nil || !strings.Contains(err.Error(), "/a is a symbolic link; accepted: a regular file, or nothing") {
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
	all := []target{{path: "tool", content: []byte("new"), mode: 0o644, uid: 0, gid: 0}}
	g, err := tr.save(dir, "d", all)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.install("id", all); err != nil {
		t.Fatal(err)
	}
	if now, _ := tr.look("tool"); !now.is(all[0]) {
		t.Fatalf("installed %+v", now)
	}
	for range 2 { // it bears being repeated
		if err := tr.putBack("id", dir, g); err != nil {
			t.Fatal(err)
		}
	}
	now, err := tr.look("tool")
	if err != nil || string(now.content) != "old" || now.mode != 0o4751 || now.uid != 12 || now.gid != 34 {
		t.Errorf("put back %+v, %v", now, err)
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
		if err := tr.install("id", []target{{path: "a", content: []byte(text), mode: 0o640, uid: -1, gid: -1}}); err != nil {
			t.Fatal(err)
		}
	}
	if now, err := tr.look("a"); err != nil || string(now.content) != "newer" || now.mode != 0o640 || now.uid != 12 || now.gid != 34 {
		t.Errorf("installed %+v, %v", now, err)
	}
}

// smallDisk mounts a file system of 256 KiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		if errors.Is(err, syscall.EPERM) && os.Getenv("LOCKKEEPER_TEST_REQUIRE_ALL") == "" {
			t.Skipf("needs root to mount a small disk: %v", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestInstall_AFullDiskLeavesEveryFileAsItWas(t *testing.T) {
	root := smallDisk(t)
	if err := os.WriteFile(filepath.Join(root, "a"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	tr := treeAt(t, root)
	err := tr.install("id", []target{
		{path: "a", content: []byte("new"), mode: 0o644, uid: -1, gid: -1},
		{path: "big", content: bytes.Repeat([]byte("x"), 512<<10), mode: 0o644, uid: -1, gid: -1},
	})
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "/big") {
		t.Fatalf("got %v", err)
	}
	left, err := os.ReadDir(root)
	if err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
	if b, _ := os.ReadFile(filepath.Join(root, "a")); string(b) != "old" {
		t.Errorf("a is %q", b)
	}
}

func TestRun_AFullDiskEndsInTheFilesOfBeforeAndReturnsTheSlot(t *testing.T) {
	disk := smallDisk(t)
	inBubble(t, func(t *testing.T, w *world) {
		big := strings.Repeat("x", 400<<10)
		// The host's root itself is the small disk.
		if err := syscall.Mount(disk, w.root, "", syscall.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := syscall.Unmount(w.root, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}()
		w.write("etc/a", "old", 0o644)
		digest := w.publish(bundle.Manifest{Name: "big", Files: []bundle.File{
			{Path: "/etc/a", Interrupt: bundle.InterruptReboot}, {Path: "/etc/big"},
		}}, map[string]string{"/etc/a": "new", "/etc/big": big})
		w.c.want(wanted(digest))
		w.start()
		w.until("failure", w.reported(func(r api.Report) bool { return r.Failure != nil && r.Phase == api.PhaseIdle }))
		w.settled()
		w.stop()
		f := w.journal().Failure
		if f.Reason != "apply" || !f.Healthy || !strings.Contains(f.Detail, "no space left") {
			t.Errorf("failure %+v", f)
		}
		if got := w.files(); got != "./\netc/\netc/a 0644 \"old\"\n" || w.h.Boots() != 0 {
			t.Errorf("files:\n%s", got)
		}
	})
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
