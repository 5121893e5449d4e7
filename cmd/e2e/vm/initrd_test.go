package vm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// initrd is the file system that the kernel starts with: the guest's init and
// the modules without which it cannot see its disk and its network.
func initrd(k kernel, init string) ([]byte, error) {
	var a archive
	for _, dir := range []string{"dev", "disk", "modules"} {
		a.add(dir, 0o40755, nil)
	}
	a.device("dev/console", 5, 1)
	program, err := os.ReadFile(init)
	if err != nil {
		return nil, err
	}
	a.add("init", 0o100755, program)
	for i, file := range k.modules {
		module, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		a.add(fmt.Sprintf("modules/%02d-%s", i, filepath.Base(file)), 0o100644, module)
	}
	a.add("TRAILER!!!", 0, nil)
	return a.Bytes(), nil
}

// archive is a cpio archive of the kind "newc" (Linux,
// Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	bytes.Buffer
	files int
}

func (a *archive) add(name string, mode int, content []byte) { a.entry(name, mode, content, 0, 0) }

func (a *archive) device(name string, major, minor int) {
	a.entry(name, 0o20600, nil, major, minor)
}

func (a *archive) entry(name string, mode int, content []byte, major, minor int) {
	a.files++
	fmt.Fprintf(a, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		a.files, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0, name)
	a.pad()
	a.Write(content)
	a.pad()
}

func (a *archive) pad() {
	for a.Len()%4 != 0 {
		a.WriteByte(0)
	}
}
