// Package freeport finds ports for the servers of tests whose address has to be
// known before they listen.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
)

// The ports that are given. The kernel gives those above them to connections
// (net.ipv4.ip_local_port_range), and one of these could have the port again by
// the time at which the server listens.
const low, high = 20_000, 32_000

// Address is one of 127.0.0.1 on which nobody listens.
func Address() (string, error) {
	for {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", low+rand.IntN(high-low)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return "", err
		}
		return l.Addr().String(), l.Close()
	}
}
