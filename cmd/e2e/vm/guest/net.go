package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bringUp gives an interface its address, and switches it on.
func bringUp(name string, addr [4]byte, prefix int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer os.NewFile(uintptr(fd), "socket").Close()
	mask := [4]byte(net.CIDRMask(prefix, 32))
	for _, set := range []struct {
		call uint
		addr [4]byte
	}{{unix.SIOCSIFADDR, addr}, {unix.SIOCSIFNETMASK, mask}} {
		req, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if err := req.SetInet4Addr(set.addr[:]); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, set.call, req); err != nil {
			return fmt.Errorf("addressing %s: %w", name, err)
		}
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("switching %s on: %w", name, err)
	}
	return nil
}

// routeAll sends to a gateway what is for no network of the guest's own.
func routeAll(gateway [4]byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer os.NewFile(uintptr(fd), "socket").Close()
	// struct rtentry, which has the zero address and mask for all.
	entry := struct {
		_                 uint64
		dst, via, mask    unix.RawSockaddrInet4
		flags             uint16
		_                 [22]byte
		metric            int16
		dev               uintptr
		mtu, window, irtt uint64
	}{flags: unix.RTF_UP | unix.RTF_GATEWAY}
	entry.dst.Family, entry.mask.Family = unix.AF_INET, unix.AF_INET
	entry.via = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: gateway}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCADDRT, uintptr(unsafe.Pointer(&entry))); errno != 0 {
		return fmt.Errorf("routing to %v: %w", gateway, errno)
	}
	return nil
}

// answerPings sends each datagram to port 7 back, with the boot id and the wall
// clock in Unix seconds behind it.
func answerPings() error {
	bootID, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	boot := strings.TrimSpace(string(bootID))
	conn, err := net.ListenPacket("udp4", ":7")
	if err != nil {
		return err
	}
	go func() {
		buf := make([]byte, 256)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				fmt.Println("guest: pings are no longer answered:", err)
				return
			}
			// Who asked asks again: an answer that is lost is no matter.
			_, _ = conn.WriteTo(fmt.Appendf(buf[:n:n], " %s %d", boot, time.Now().Unix()), from)
		}
	}()
	return nil
}
