package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
)

// forward reads a file of "FROM TO" lines, if it is there, and hands on what
// connects to each first address of the guest to the second one. A coordinator
// asks for no credentials on loopback alone, and QEMU brings to the guest's other
// address what comes from outside.
func forward(file string) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, line := range lines(text) {
		from, to, _ := strings.Cut(line, " ")
		l, err := net.Listen("tcp", from)
		if err != nil {
			return fmt.Errorf("forwarding %s: %w", line, err)
		}
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					fmt.Println("guest: nothing is forwarded any more from", from, err)
					return
				}
				go pass(conn, to)
			}
		}()
	}
	return nil
}

// pass hands on one connection. What goes wrong with it its ends see.
func pass(conn net.Conn, to string) {
	defer conn.Close()
	there, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer there.Close()
	go func() {
		_, _ = io.Copy(there, conn)
		_ = there.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(conn, there)
}
