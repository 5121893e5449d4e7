package coordinator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/door"
	"github.com/lockkeeper/lockkeeper/coordinator/peerca"
)

// adminSocket is where the host's own root reaches a coordinator whose
// listener asks for tokens: how the first token is made.
const adminSocket = "admin.sock"

// drainFor is how long answers under way may take once the doors close.
const drainFor = 2 * time.Second

// doors are the listeners, and the servers on them once there is something to
// serve.
type doors struct {
	cfg       Config
	log       *slog.Logger
	main      *door.Listener // with a certificate of our own nil until openLate
	loopback  bool           // of main, known from the start
	fleetlock *door.Listener // nil when off
	admin     *door.Listener // nil when the main one needs no tokens

	mu       sync.Mutex // guards servers, early and open
	servers  []*http.Server
	early    *startingHandler // on the main listener, when the start took long
	open     bool             // the main listener serves
	started  chan struct{}    // closed then
	starting sync.WaitGroup

	// joins is the certificate that is shown to a new coordinator, nil before
	// there is one.
	joins atomic.Pointer[func() (*tls.Certificate, error)]
	done  chan struct{} // a value for each server that ended
	life  context.Context
	end   context.CancelFunc
}

// openDoors listens, so that an address that cannot be had is said at once. A
// certificate of our own is kept in the data dir, which a new cluster must
// find empty: that door is opened by openLate.
func openDoors(cfg Config, log *slog.Logger) (*doors, error) {
	d := &doors{cfg: cfg, log: log, started: make(chan struct{})}
	d.life, d.end = context.WithCancel(context.Background())
	var err error
	if cfg.TLS.SelfSigned {
		var probe net.Listener
		if probe, err = net.Listen("tcp", cfg.Listen); err != nil {
			return nil, fmt.Errorf("listen address %s: %w", cfg.Listen, err)
		}
		addr, ok := probe.Addr().(*net.TCPAddr)
		d.loopback = ok && addr.IP.IsLoopback()
		if err = probe.Close(); err != nil {
			return nil, err
		}
	} else if d.main, err = door.Listen(d.mainConfig()); err != nil {
		return nil, err
	} else {
		d.loopback = d.main.Loopback
	}
	if cfg.FleetLock.Listen != "" {
		d.fleetlock, err = door.Listen(door.Config{Listen: cfg.FleetLock.Listen, Plain: true, Logger: log})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("fleetlock: %w", err), d.close())
		}
	}
	return d, nil
}

func (d *doors) mainConfig() door.Config {
	return door.Config{
		Listen: d.cfg.Listen, CertFile: d.cfg.TLS.Cert, KeyFile: d.cfg.TLS.Key,
		SelfSigned: d.cfg.TLS.SelfSigned, KeyDir: filepath.Join(d.cfg.DataDir, "tls"), Names: d.cfg.Hosts, Logger: d.log,
		ServerName: peerca.ServerName, ServerCertificate: d.joinCertificate,
	}
}

// openLate opens what lives in the data dir, once the store is there.
func (d *doors) openLate() error {
	var err error
	if d.main == nil {
		if d.main, err = door.Listen(d.mainConfig()); err != nil {
			return err
		}
		d.log.Warn("serving with a certificate of its own: give clients its pin", "pin", d.main.Pin)
	}
	if d.needsTokens() {
		d.admin, err = door.Listen(door.Config{Listen: "unix:" + d.adminPath(), Logger: d.log})
		if err != nil {
			return err
		}
		d.log.Info("tokens are made over the admin socket", "command", "lockkeeper --server unix:"+d.adminPath()+" token create --role admin")
	}
	return nil
}

// showTo shows a new coordinator the certificate of this one as a member. It is
// read anew each time: it is renewed.
func (d *doors) showTo(files peerca.Files) {
	get := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		return &pair, err
	}
	d.joins.Store(&get)
}

// joinCertificate is the one of the cluster's own authority.
func (d *doors) joinCertificate() (*tls.Certificate, error) {
	get := d.joins.Load()
	if get == nil {
		return nil, errors.New("no coordinator joins here")
	}
	return (*get)()
}

func (d *doors) adminPath() string {
	path := filepath.Join(d.cfg.DataDir, adminSocket)
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// needsTokens: everybody on the main listener has to show one.
func (d *doors) needsTokens() bool { return !d.main.Loopback || d.cfg.RequireToken }

// advertise is the URL that the store knows this coordinator by.
func (d *doors) advertise() string {
	if d.main != nil && !strings.HasPrefix(d.main.URL, "unix:") {
		return d.main.URL
	}
	if strings.HasPrefix(d.cfg.Listen, "unix:") {
		return ""
	}
	return "https://" + d.cfg.Listen
}

// networks are the FleetLock networks of a valid config.
func (d *doors) networks() []door.FleetLockNetwork {
	var list []door.FleetLockNetwork
	for _, n := range d.cfg.FleetLock.Networks {
		list = append(list, door.FleetLockNetwork{Prefix: netip.MustParsePrefix(n.CIDR), Groups: n.Groups})
	}
	return list
}

// serve answers on a listener until close.
func (d *doors) serve(l *door.Listener, h http.Handler) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.serveLocked(l, h)
}

func (d *doors) serveLocked(l *door.Listener, h http.Handler) {
	s := door.NewServer(h, d.log)
	s.BaseContext = func(net.Listener) context.Context { return d.life }
	if d.done == nil {
		d.done = make(chan struct{}, 3)
	}
	d.servers = append(d.servers, s)
	go func() {
		defer func() { d.done <- struct{}{} }()
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			d.log.Error("a listener ended", "listen", l.URL, "error", err)
		}
	}()
}

// close ends the servers: streams and long polls at once, answers under way
// within drainFor.
func (d *doors) close() error {
	d.end()
	d.starting.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), drainFor)
	defer cancel()
	for _, s := range d.servers {
		if err := s.Shutdown(ctx); err != nil {
			_ = s.Close()
		}
	}
	for range d.servers {
		<-d.done
	}
	for _, l := range []*door.Listener{d.main, d.fleetlock, d.admin} {
		if l != nil {
			_ = l.Close() // its server has closed it, if there was one
		}
	}
	return nil
}
