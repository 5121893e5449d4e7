// Package freeport finds ports for the servers of tests whose address has to be
// known before they listen.
package freeport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// The ports that are given. The kernel gives those above them to connections
// (net.ipv4.ip_local_port_range), and one of these could have the port again by
// the time at which the server listens.
const low, high = 20_000, 32_000

var (
	given  atomic.Int32
	claims sync.Map // by port; one that nothing holds would be closed as garbage
)

// Address is one of 127.0.0.1 on which nobody listens. No other test is given it
// as long as this process lives.
func Address() (string, error) { return TCP("127.0.0.1") }

// Listen listens on an Address.
func Listen() (net.Listener, error) {
	addr, err := Address()
	if err != nil {
		return nil, err
	}
	return net.Listen("tcp", addr)
}

// TCP is Address of another host of this machine.
func TCP(host string) (string, error) {
	return find(host, func(addr string) (io.Closer, error) { return net.Listen("tcp", addr) })
}

// UDP is Address of a port for packets.
func UDP(host string) (string, error) {
	return find(host, func(addr string) (io.Closer, error) { return net.ListenPacket("udp", addr) })
}

func find(host string, listen func(addr string) (io.Closer, error)) (string, error) {
	for range high - low {
		port := low + (int(given.Add(1))+os.Getpid())%(high-low)
		// Whoever has the name has the port: the tests of other packages run in
		// processes of their own, and look for one too.
		claim, err := net.Listen("unix", fmt.Sprint("@lockkeeper-test-port-", port))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return "", err
		}
		claims.Store(port, claim)
		addr := net.JoinHostPort(host, fmt.Sprint(port))
		err = try(addr, listen)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return "", err
		}
		return addr, nil
	}
	return "", fmt.Errorf("no port of %s from %d to %d is free", host, low, high-1)
}

// try listens for a moment, in which this process starts no other: that would have
// what is listened on until it runs its own program, and the port be in use so long.
func try(addr string, listen func(addr string) (io.Closer, error)) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	l, err := listen(addr)
	if err != nil {
		return err
	}
	return l.Close()
}
