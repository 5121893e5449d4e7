package etcdnode

import (
	"net"
	"net/url"
	"os"
	"strconv"

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
)

// endSilent sets the options on all connections of this process with members,
// which are told by their ports. It costs two system calls for each open file.
func (n *Node) endSilent() {
	s, err := n.server()
	if err != nil {
		return
	}
	ports := map[int]bool{}
	for _, m := range s.Cluster().Members() {
		for _, text := range m.PeerURLs {
			if u, err := url.Parse(text); err == nil {
				if port, err := strconv.Atoi(u.Port()); err == nil {
					ports[port] = true
				}
			}
		}
	}
	_, text, _ := net.SplitHostPort(n.cfg.Peer.Listen)
	if port, err := strconv.Atoi(text); err == nil {
		ports[port] = true
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, f := range files {
		fd, err := strconv.Atoi(f.Name())
		if err != nil || !ports[portOf(unix.Getpeername(fd))] && !ports[portOf(unix.Getsockname(fd))] {
			continue
		}
		// What has been closed meanwhile needs none.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, probeAfterSec)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, probeEverySec)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, silentMillis)
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
