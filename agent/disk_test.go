package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

const page = 4096 // that a tmpfs gives out, in bytes

// smallDisk mounts a file system of that many pages.
func smallDisk(t *testing.T, pages int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", pages*page)); err != nil {
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

// fillUp leaves nothing free on a file system.
func fillUp(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, page))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

func TestInstall_AFullDiskLeavesEveryFileAsItWas(t *testing.T) {
	root := smallDisk(t, 64)
	if err := os.WriteFile(filepath.Join(root, "a"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	tr := treeAt(t, root)
	err := tr.install("id", []target{
		of("a", "new", 0o644, -1, -1), of("big", strings.Repeat("x", 512<<10), 0o644, -1, -1),
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

// TestApply_WhereverTheDiskIsFullTheOldGenerationIsWhole has the agent's state
// and the host's files on one disk, with room for one page more each time, from
// none until all goes well.
func TestApply_WhereverTheDiskIsFullTheOldGenerationIsWhole(t *testing.T) {
	failed := 0
	for free := 0; ; free++ {
		disk := smallDisk(t, 16+free)
		root, state := filepath.Join(disk, "root"), filepath.Join(disk, "state")
		for _, dir := range []string{filepath.Join(root, "etc"), state} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"etc/a", "etc/b"} {
			if err := os.WriteFile(filepath.Join(root, name), []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(disk, "filler"), make([]byte, 14*page), 0o600); err != nil {
			t.Fatal(err)
		}
		tr := treeAt(t, root)
		all := []target{
			of("etc/a", strings.Repeat("a", page+1), 0o644, -1, -1), of("etc/b", "b", 0o644, -1, -1),
			of("srv/new/c", strings.Repeat("c", 2*page), 0o644, -1, -1),
		}
		dir := filepath.Join(state, "g")
		_, err := tr.save(dir, "d", all)
		if err == nil {
			err = tr.install("id", all)
		}
		if err == nil {
			if left, err := tr.diff(all); err != nil || len(left) > 0 {
				t.Errorf("%d pages free: not in place: %v, %v", free, left, err)
			}
			break
		}
		failed++
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%d pages free: %v", free, err)
		}
		if g, kept, err := loadGeneration(dir); err != nil {
			t.Fatal(err)
		} else if kept { // else nothing was begun
			if err := tr.putBack("id", dir, g); err != nil {
				t.Fatalf("%d pages free: %v", free, err)
			}
		}
		for _, name := range []string{"etc/a", "etc/b"} {
			if now, text := tr.seen(t, name); text != "old" || now.mode != 0o600 {
				t.Errorf("%d pages free: %s is %q with mode %o", free, name, text, now.mode)
			}
		}
		left, err := filepath.Glob(filepath.Join(root, "*", "*"))
		if err != nil || len(left) != 2 {
			t.Errorf("%d pages free: left %q, %v", free, left, err)
		}
	}
	if failed < 5 {
		t.Errorf("the disk was full in %d places only", failed)
	}
}

// TestApply_AnErrorAtEachStepLeavesTheOldGenerationWhole has the disk fail once,
// at each step in turn.
func TestApply_AnErrorAtEachStepLeavesTheOldGenerationWhole(t *testing.T) {
	for at := 0; ; at++ {
		root, dir := t.TempDir(), filepath.Join(t.TempDir(), "g")
		if err := os.WriteFile(filepath.Join(root, "a"), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		tr := treeAt(t, root)
		all := []target{of("a", "new", 0o644, -1, -1), of("srv/b", "new", 0o644, -1, -1), of("srv/c", "new", 0o644, -1, -1)}
		g, err := tr.save(dir, "d", all)
		if err != nil {
			t.Fatal(err)
		}
		n, failed := 0, ""
		tr.step = func(name string) error {
			if n++; n == at+1 {
				failed = name
				return syscall.EIO
			}
			return nil
		}
		if err = tr.install("id", all); err == nil {
			if at != 6 {
				t.Errorf("%d steps, want 6", at)
			}
			return
		}
		if !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		if err := tr.putBack("id", dir, g); err != nil {
			t.Fatalf("after %q: %v", failed, err)
		}
		left, err := os.ReadDir(root)
		if now, text := tr.seen(t, "a"); err != nil || len(left) != 1 || text != "old" || now.mode != 0o600 {
			t.Errorf("after %q: a is %q with mode %o, left %v, %v", failed, text, now.mode, left, err)
		}
	}
}

// onDisk has the host's root itself be a file system of its own.
func onDisk(t *testing.T, pages int, f func(t *testing.T, w *world, remount func(flags uintptr))) {
	disk := smallDisk(t, pages)
	inBubble(t, func(t *testing.T, w *world) {
		if err := syscall.Mount(disk, w.root, "", syscall.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := syscall.Unmount(w.root, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}()
		f(t, w, func(flags uintptr) {
			if err := syscall.Mount("", w.root, "", syscall.MS_REMOUNT|syscall.MS_BIND|flags, ""); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// ends waits for the failure, and for the slot to be returned.
func (w *world) fails() *api.Failure {
	w.t.Helper()
	w.until("failure", w.reported(func(r api.Report) bool { return r.Failure != nil && r.Phase == api.PhaseIdle }))
	w.settled()
	w.stop()
	return w.journal().Failure
}

func TestRun_AFullOrReadOnlyDiskIsFoundBeforeASlotIsTaken(t *testing.T) {
	for what, want := range map[string]string{
		"full": "bytes free; needed: ", "read-only": "/etc/a is on a file system that is mounted read-only for the agent",
	} {
		onDisk(t, 64, func(t *testing.T, w *world, remount func(uintptr)) {
			w.write("etc/a", "old", 0o644)
			digest := w.publish(bundle.Manifest{Name: "big", Files: []bundle.File{
				{Path: "/etc/a", Interrupt: bundle.InterruptReboot}, {Path: "/etc/big"},
			}}, map[string]string{"/etc/a": "new", "/etc/big": strings.Repeat("x", 50*page)})
			if what == "read-only" {
				remount(syscall.MS_RDONLY)
			}
			w.c.want(wanted(digest))
			w.start()
			f := w.fails()
			if f.Reason != "disk" || !f.Healthy || !strings.Contains(f.Detail, want) {
				t.Errorf("%s: failure %+v", what, f)
			}
			if w.c.called("acquire") != 0 || w.h.drains != 0 || w.h.Boots() != 0 {
				t.Errorf("%s: %d slots asked for, %d drains, %d boots", what, w.c.called("acquire"), w.h.drains, w.h.Boots())
			}
			if got := w.files(); got != "./\netc/\netc/a 0644 \"old\"\n" {
				t.Errorf("%s: files:\n%s", what, got)
			}
		})
	}
}

func TestRun_ADiskThatFillsUpMeanwhileEndsInTheFilesOfBeforeAndReturnsTheSlot(t *testing.T) {
	for _, what := range []string{"full", "read-only"} {
		onDisk(t, 64, func(t *testing.T, w *world, remount func(uintptr)) {
			digest := w.standard(bundle.InterruptReboot)
			w.fail = func(step string) error {
				switch {
				case step != "before apply":
				case what == "full":
					fillUp(t, w.root)
				default:
					remount(syscall.MS_RDONLY)
				}
				return nil
			}
			w.c.want(wanted(digest))
			w.start()
			f := w.fails()
			if f.Reason != "disk" || !f.Healthy || w.h.Boots() != 0 {
				t.Errorf("%s: failure %+v, %d boots", what, f, w.h.Boots())
			}
			remount(0)
			if err := os.Remove(filepath.Join(w.root, "filler")); err != nil && what == "full" {
				t.Error(err)
			}
			if got := w.files(); got != standardBefore {
				t.Errorf("%s: files:\n%s", what, got)
			}
		})
	}
}
