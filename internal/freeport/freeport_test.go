package freeport

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
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
		l, err := Listen()
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if port := l.Addr().(*net.TCPAddr).Port; port >= first {
			t.Errorf("port %d may be given to a connection, as those from %d on", port, first)
		}
	}
}

// Nobody listens on what is given yet, so that looking for a free port is not enough.
func TestAddress_IsGivenOnce(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		address, err := Address()
		if err != nil {
			t.Fatal(err)
		}
		if seen[address] {
			t.Fatalf("%s is given twice", address)
		}
		seen[address] = true
		_, port, _ := net.SplitHostPort(address)
		if l, err := net.Listen("unix", "@lockkeeper-test-port-"+port); err == nil {
			l.Close()
			t.Fatalf("another process could be given %s too", address)
		}
	}
}

func TestAddress_OfAHostThatIsNotOfThisMachineIsAnError(t *testing.T) {
	if address, err := UDP("192.0.2.1"); err == nil {
		t.Errorf("given %s", address)
	}
}

// A process that is just started has all that its parent has open, until it runs
// its own program: what was listened on to see whether it is free, too.
func TestAddress_IsFreeAlsoWhileOthersStartProcesses(t *testing.T) {
	ended := make(chan struct{})
	var starters sync.WaitGroup
	for range 4 {
		starters.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				if err := exec.Command("true").Run(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	defer starters.Wait()
	defer close(ended)
	for range 200 {
		l, err := Listen()
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
}
