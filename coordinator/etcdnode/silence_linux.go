package etcdnode

import (
	"net"
	"net/url"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A connection between two members that the network has cut brings nothing until
// TCP sends again, which after a cut of a minute may be a minute later; etcd
// keeps its streams for as long, and lets nobody set anything about them. So the
// options are set on its sockets from outside: what is not acknowledged, or not
// heard of, for silentMillis ends the connection, and etcd makes another.
const (
	silentMillis  = 5000
	probeAfterSec = 2
	probeEverySec = 1
	hangUpEvery   = 100 * time.Millisecond
)

// endSilent sets the options on all connections of this process with members,
// which are told by their ports. It costs two system calls for each open file.
func (n *Node) endSilent() {
	ports := n.memberPorts()
	_, text, _ := net.SplitHostPort(n.cfg.Peer.Listen)
	if port, err := strconv.Atoi(text); err == nil {
		ports[port] = true
	}
	eachOpen(func(fd int) {
		if !ports[portOf(unix.Getpeername(fd))] && !ports[portOf(unix.Getsockname(fd))] {
			return
		}
		// What has been closed meanwhile needs none.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, probeAfterSec)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, probeEverySec)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, silentMillis)
	})
}

// hangUp ends every connection that this process has made to another member,
// until done. An etcd that stops waits for its own question to one that stands
// still, 7 s for each, and nobody can call the question off.
func (n *Node) hangUp(done <-chan struct{}) {
	ports := n.memberPorts()
	for tick := time.NewTicker(hangUpEvery); ; {
		select {
		case <-done:
			tick.Stop()
			return
		case <-tick.C:
		}
		eachOpen(func(fd int) {
			if ports[portOf(unix.Getpeername(fd))] {
				_ = unix.Shutdown(fd, unix.SHUT_RDWR)
			}
		})
	}
}

// memberPorts returns the ports at which the other members are found.
func (n *Node) memberPorts() map[int]bool {
	ports := map[int]bool{}
	for _, m := range n.etcd.Server.Cluster().Members() {
		if m.ID == n.id {
			continue
		}
		for _, text := range m.PeerURLs {
			if u, err := url.Parse(text); err == nil {
				if port, err := strconv.Atoi(u.Port()); err == nil {
					ports[port] = true
				}
			}
		}
	}
	return ports
}

// eachOpen calls f with every open file of this process, sockets or not.
func eachOpen(f func(fd int)) {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, file := range files {
		if fd, err := strconv.Atoi(file.Name()); err == nil {
			f(fd)
		}
	}
}

func portOf(addr unix.Sockaddr, err error) int {
	switch a := addr.(type) {
	case *unix.SockaddrInet4:
		return a.Port
	case *unix.SockaddrInet6:
		return a.Port
	}
	return -1
}
