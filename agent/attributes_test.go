package agent

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// attributed makes a file with extended attributes, where that can be done.
func attributed(t *testing.T, name string, attrs attributes) {
	t.Helper()
	if err := os.WriteFile(name, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	for k, v := range attrs {
		err := unix.Setxattr(name, k, v, 0)
		if (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM)) && os.Getenv("LOCKKEEPER_TEST_REQUIRE_ALL") == "" {
			t.Skipf("needs root, and a file system with extended attributes: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// label is what SELinux would call it; nothing here enforces it.
var label = attributes{seLinux: []byte("system_u:object_r:etc_t:s0\x00")}

func TestInstall_AFileHasTheLabelOfTheOneThatItReplacesAndNoMoreOfIt(t *testing.T) {
	root := t.TempDir()
	attrs := maps.Clone(label)
	attrs["user.note"] = []byte("of the old content")
	attributed(t, filepath.Join(root, "a"), attrs)
	tr := treeAt(t, root)
	tr.mustInstall(t, of("a", "new", 0o644, -1, -1), of("b", "new", 0o644, -1, -1))
	if now, _ := tr.seen(t, "a"); !now.attrs.equal(label) {
		t.Errorf("replaced: %q, want %q", now.attrs, label)
	}
	if now, _ := tr.seen(t, "b"); len(now.attrs) > 0 {
		t.Errorf("new: %q", now.attrs)
	}
}

func TestPutBack_GivesAllExtendedAttributesBack(t *testing.T) {
	root, dir := t.TempDir(), filepath.Join(t.TempDir(), "g")
	attrs := maps.Clone(label)
	attrs["user.note"], attrs["user.empty"] = []byte("of the old content"), nil
	// cap_net_bind_service, which a chown would take away.
	attrs["security.capability"] = []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	attributed(t, filepath.Join(root, "a"), attrs)
	if err := os.Chown(filepath.Join(root, "a"), 12, 34); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(filepath.Join(root, "a"), "security.capability", attrs["security.capability"], 0); err != nil {
		t.Fatal(err)
	}
	tr := treeAt(t, root)
	all := []target{of("a", "new", 0o644, 0, 0)}
	if _, err := tr.save(dir, "d", all); err != nil {
		t.Fatal(err)
	}
	tr.mustInstall(t, all...)
	if err := unix.Setxattr(filepath.Join(root, "a"), "user.later", []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	g, ok, err := loadGeneration(dir) // as after a restart
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := tr.putBack("id", dir, g); err != nil {
		t.Fatal(err)
	}
	now, text := tr.seen(t, "a")
	if !now.attrs.equal(attrs) || text != "old" || now.uid != 12 || now.mode != 0o640 {
		t.Errorf("put back %q %+v\nwant %q", text, now, attrs)
	}
	// The content is the old one, and a label that went is put back all the same.
	if err := unix.Removexattr(filepath.Join(root, "a"), "user.note"); err != nil {
		t.Fatal(err)
	}
	if err := tr.putBack("id", dir, g); err != nil {
		t.Fatal(err)
	}
	if now, _ := tr.seen(t, "a"); !now.attrs.equal(attrs) {
		t.Errorf("put back again %q", now.attrs)
	}
}

func TestAttributes_AFileSystemWithoutThemHasNone(t *testing.T) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if attrs, err := attributesOf(f); err != nil || len(attrs) != 0 {
		t.Errorf("%q, %v", attrs, err)
	}
}
