package vm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// kernel is what QEMU boots, and the modules that the guest needs, in the order
// in which they must be loaded.
type kernel struct {
	vmlinux string
	modules []string
	busybox string
}

// moduleOrder: each needs those before it.
var moduleOrder = []string{"virtio_ring", "virtio", "virtio_mmio", "failover", "net_failover", "virtio_net", "virtio_blk"}

// theKernel unpacks Debian's kernel for virtual machines, and a static busybox,
// from the packages in the lab. It is done once and kept there.
var theKernel = sync.OnceValues(func() (kernel, error) {
	var k kernel
	dir := filepath.Join(lab, "unpacked")
	if _, err := os.Stat(dir); err != nil {
		if err := unpack(dir); err != nil {
			return k, err
		}
	}
	k.vmlinux = filepath.Join(dir, "vmlinux")
	k.busybox = filepath.Join(dir, "bin/busybox")
	for _, name := range moduleOrder {
		found, err := filepath.Glob(filepath.Join(dir, "lib/modules/*/kernel/*/*/"+name+".ko"))
		if err != nil || len(found) != 1 {
			return k, fmt.Errorf("the module %s in %s: %d files, want one", name, dir, len(found))
		}
		k.modules = append(k.modules, found[0])
	}
	return k, nil
})

// unpack fills dir; it is there only when it is complete.
func unpack(dir string) error {
	part, err := os.MkdirTemp(lab, "part")
	if err != nil {
		return err
	}
	defer os.RemoveAll(part)
	for _, pattern := range []string{"linux-image-*-cloud-amd64_*.deb", "busybox-static_*.deb"} {
		found, err := filepath.Glob(filepath.Join(lab, pattern))
		if err != nil || len(found) != 1 {
			return fmt.Errorf("%s in %s: %d packages, want one (make test-vm fetches it)", pattern, lab, len(found))
		}
		if out, err := exec.Command("dpkg", "-x", found[0], part).CombinedOutput(); err != nil {
			return fmt.Errorf("dpkg -x %s: %w: %s", found[0], err, out)
		}
	}
	images, err := filepath.Glob(filepath.Join(part, "boot/vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return fmt.Errorf("%d kernels in the package, want one", len(images))
	}
	if err := decompress(images[0], filepath.Join(part, "vmlinux")); err != nil {
		return err
	}
	return os.Rename(part, dir)
}

// decompress takes the ELF kernel out of a bzImage. QEMU starts that directly,
// which spares a second of emulation at each boot. Where it lies, and that it is
// lz4, is in the header (Linux, Documentation/arch/x86/boot.rst).
func decompress(image, to string) error {
	b, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	if len(b) < 0x250 || string(b[0x202:0x206]) != "HdrS" {
		return fmt.Errorf("%s is no bzImage", image)
	}
	sectors := max(int(b[0x1f1]), 4)
	from := (sectors+1)*512 + int(binary.LittleEndian.Uint32(b[0x248:]))
	length := int(binary.LittleEndian.Uint32(b[0x24c:])) - 4 // behind it is its size
	if from+length > len(b) || length < 4 || !bytes.Equal(b[from:from+4], []byte{0x02, 0x21, 0x4c, 0x18}) {
		return fmt.Errorf("the kernel in %s is not compressed with lz4", image)
	}
	cmd := exec.Command("lz4", "-q", "-d", "-f", "-", to)
	cmd.Stdin = bytes.NewReader(b[from : from+length])
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("lz4: %w: %s", err, out)
	}
	return nil
}
