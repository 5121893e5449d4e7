package freeport

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestAddress_IsFreeAndNoneThatAConnectionMayHave(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Fatal(err)
	}
	first, err := strconv.Atoi(strings.Fields(string(text))[0])
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		address, err := Address()
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if port := l.Addr().(*net.TCPAddr).Port; port >= first {
			t.Errorf("port %d may be given to a connection, as those from %d on", port, first)
		}
	}
}
