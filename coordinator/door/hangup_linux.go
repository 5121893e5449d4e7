package door

import (
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// watcher notices when the clients of parked requests hang up: one goroutine and
// one epoll for all of them, where a goroutine for each would take more memory
// than the rest of a parked request. It runs while there is something to watch.
type watcher struct {
	mu    sync.Mutex
	file  *os.File // the epoll, nil while nothing is watched
	epoll int
	next  int32
	gone  map[int32]func()
}

var hangups = &watcher{gone: map[int32]func(){}}

// watch calls gone, once, when the other end of a connection closes it or
// breaks off. It must be followed by forget before the connection is closed.
func (w *watcher) watch(conn net.Conn, gone func()) (id int32, err error) {
	raw, err := rawOf(conn)
	if err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		if err := w.start(); err != nil {
			return 0, err
		}
	}
	for w.next++; w.gone[w.next] != nil; w.next++ {
		continue
	}
	id = w.next
	event := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: id}
	w.gone[id] = gone
	control := raw.Control(func(fd uintptr) { err = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, int(fd), &event) })
	if control != nil {
		err = control
	}
	if err != nil {
		w.drop(id)
	}
	return id, err
}

// forget ends the watch. gone may be running still.
func (w *watcher) forget(conn net.Conn, id int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if raw, err := rawOf(conn); err == nil && w.file != nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, int(fd), nil) })
	}
	w.drop(id)
}

// drop ends the goroutine with the last one watched. mu is held.
func (w *watcher) drop(id int32) {
	delete(w.gone, id)
	if len(w.gone) == 0 && w.file != nil {
		w.file.Close()
		w.file = nil
	}
}

func (w *watcher) start() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	// Not to block is what makes the runtime's own poller wait for it.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return err
	}
	w.file, w.epoll = file, fd
	go w.monitor(raw)
	return nil
}

func (w *watcher) monitor(raw syscall.RawConn) {
	events := make([]unix.EpollEvent, 64)
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0
		})
		if err != nil { // closed
			return
		}
		for _, e := range events[:n] {
			w.mu.Lock()
			gone := w.gone[e.Fd]
			w.mu.Unlock()
			if gone != nil {
				gone()
			}
		}
	}
}

// connection is the key of a request's connection in its context.
type connection struct{}

// HungUp reports whether the client of a request has closed its connection, or has
// broken it off, as far as this host's kernel knows. The request's context tells of
// it a moment later. It is false where the server is none of NewServer's.
func HungUp(r *http.Request) bool {
	conn, ok := r.Context().Value(connection{}).(net.Conn)
	if !ok {
		return false
	}
	raw, err := rawOf(conn)
	if err != nil {
		return false
	}
	left := false
	_ = raw.Control(func(fd uintptr) {
		look := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}} //nolint:gosec // a descriptor is an int
		n, err := unix.Poll(look, 0)
		left = err == nil && n > 0
	})
	return left
}

// rawOf is the connection below TLS.
func rawOf(conn net.Conn) (syscall.RawConn, error) {
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secure.NetConn()
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil, os.ErrInvalid
	}
	return sc.SyscallConn()
}
