package etcdstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// Real processes: this test binary started again as an etcd, or as a store
// that takes its requests over a socket. What is known of them comes over
// sockets, so that they can be stopped and killed at any moment.

// The environment of such a process.
const (
	envRole  = "ETCDSTORE_TEST_ROLE" // etcd or store
	envDir   = "ETCDSTORE_TEST_DIR"  // the folder of the sockets and of etcd's data
	envName  = "ETCDSTORE_TEST_NAME" // of the store: its socket
	envBreak = "ETCDSTORE_TEST_BREAK"
	envLease = "ETCDSTORE_TEST_LEASE" // TTL of the places' lease
)

// playRole is the main of such a process. It ends when its stdin does, so that
// none outlives the test.
func playRole(role string) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	run := map[string]func(ctx context.Context, dir string, ready func()) error{"etcd": runEtcd, "store": runStore}[role]
	if run == nil {
		fmt.Fprintf(os.Stderr, "%s: no role %q\n", envRole, role)
		return 1
	}
	if err := run(ctx, os.Getenv(envDir), func() { fmt.Println("ready") }); err != nil {
		fmt.Fprintln(os.Stderr, role, err)
		return 1
	}
	return 0
}

// runEtcd is a single member that fsyncs, with a client socket, and whose
// leases may be short.
func runEtcd(ctx context.Context, dir string, ready func()) error {
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = "alone", filepath.Join(dir, "data")
	cfg.ListenClientUrls = []url.URL{{Scheme: "unix", Path: etcdSocket(dir)}}
	cfg.ListenClientHttpUrls, cfg.ListenPeerUrls = nil, nil
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:2380"}
	cfg.AdvertiseClientUrls, cfg.AdvertisePeerUrls = cfg.ListenClientUrls, []url.URL{peer}
	cfg.InitialCluster = cfg.Name + "=" + peer.String()
	cfg.TickMs, cfg.ElectionMs = 10, 100
	cfg.MaxTxnOps = 1024
	cfg.EnableGRPCGateway = false
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	select {
	case <-e.Server.ReadyNotify():
		ready()
	case err := <-e.Err():
		return err
	}
	<-ctx.Done()
	e.Server.Stop()
	e.Close()
	return nil
}

func etcdSocket(dir string) string { return filepath.Join(dir, "etcd.sock") }

func dialEtcd(dir string) (*clientv3.Client, error) {
	soon := backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}
	return clientv3.New(clientv3.Config{
		Endpoints: []string{"unix://" + etcdSocket(dir)},
		Logger:    zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: soon, MinConnectTimeout: time.Second}),
		},
	})
}

// process is one started process.
type process struct {
	t    testing.TB
	env  []string
	mu   sync.Mutex
	cmd  *exec.Cmd
	in   io.Closer
	done chan struct{}
}

// startProcess starts one and waits until it is ready.
func startProcess(t testing.TB, env ...string) *process {
	t.Helper()
	p := &process{t: t, env: env}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

func (p *process) start() error {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), p.env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("%v is not ready: %q, %w: %s", p.env, line, err, said.String())
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
		if said.Len() > 0 {
			p.t.Errorf("%v said: %s", p.env, said.String())
		}
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.in, p.done = cmd, in, done
	return nil
}

// kill is kill -9.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.done
	p.in.Close()
	p.cmd = nil
}

// signal stops the process or lets it go on.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("%v: %v", p.env, err)
	}
}

// lab is one etcd and the stores on it, each a process.
type lab struct {
	t      testing.TB
	dir    string
	etcd   *process
	stores []*process
}

func newLab(t testing.TB, stores int, env ...string) *lab {
	t.Helper()
	dir, err := os.MkdirTemp("", "lab") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &lab{t: t, dir: dir}
	l.etcd = startProcess(t, envRole+"=etcd", envDir+"="+dir)
	for i := range stores {
		l.stores = append(l.stores, l.startStore(i, env...))
	}
	return l
}

func (l *lab) startStore(i int, env ...string) *process {
	l.t.Helper()
	return startProcess(l.t, append([]string{envRole + "=store", envDir + "=" + l.dir, fmt.Sprintf("%s=%d", envName, i)}, env...)...)
}

// dial opens a connection to a store.
func (l *lab) dial(ctx context.Context, store int) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", storeSocket(l.dir, fmt.Sprint(store)))
}

func storeSocket(dir, name string) string { return filepath.Join(dir, "store"+name+".sock") }
