package etcdnode

import (
	"context"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/lockkeeper/lockkeeper/internal/etcdtest"
)

func startForeign(t *testing.T, cfg etcdtest.Config) *etcdtest.Server {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	s, err := etcdtest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func connect(t *testing.T, url string) *External {
	t.Helper()
	e, err := Connect(t.Context(), ExternalConfig{Endpoints: []string{url}, Prefix: "/lockkeeper/", StartTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

func soon(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestExternal_KnowsThatEtcdIsGoneAndThatItIsBack(t *testing.T) {
	dir := t.TempDir()
	server := startForeign(t, etcdtest.Config{Dir: dir})
	e := connect(t, server.URL)
	if !e.HasLeader() {
		t.Fatal("no leader at the start")
	}
	if _, err := e.Client().Put(t.Context(), "/lockkeeper/a", "1"); err != nil {
		t.Fatal(err)
	}
	before := e.Info().Revision
	watch := e.Client().Watch(t.Context(), "/lockkeeper/", clientv3.WithPrefix())
	changed := e.LeaderChanged()
	server.Stop()
	began := time.Now()
	soon(t, "it is known to be gone", func() bool { return !e.HasLeader() })
	t.Logf("gone was known after %s", time.Since(began).Round(time.Millisecond))
	<-changed

	server = startForeign(t, etcdtest.Config{Dir: dir})
	defer server.Stop()
	defer e.Stop(context.Background()) // first: etcd waits for its clients
	began = time.Now()
	soon(t, "it is known to be back", e.HasLeader)
	t.Logf("back was known after %s", time.Since(began).Round(time.Millisecond))
	if _, err := e.Client().Put(t.Context(), "/lockkeeper/b", "2"); err != nil {
		t.Fatal(err)
	}
	if now := e.Info().Revision; now <= before {
		t.Errorf("revision %d, was %d before the last write", now, before)
	}
	for {
		select {
		case resp := <-watch:
			if resp.Err() != nil {
				t.Fatalf("the watch ended: %v", resp.Err())
			}
			if len(resp.Events) > 0 {
				return // it went on by itself
			}
		case <-time.After(time.Minute):
			t.Fatal("the watch brought nothing")
		}
	}
}

// An empty etcd in place of the one with the holds would hand out slots that
// are taken, from memory that says otherwise.
func TestExternal_AnotherEtcdInItsPlaceIsTheEnd(t *testing.T) {
	dir := t.TempDir()
	server := startForeign(t, etcdtest.Config{Dir: dir})
	e := connect(t, server.URL)
	for range 3 {
		if _, err := e.Client().Put(t.Context(), "/lockkeeper/a", "1"); err != nil {
			t.Fatal(err)
		}
	}
	server.Stop()
	if err := os.RemoveAll(filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	server = startForeign(t, etcdtest.Config{Dir: dir})
	defer server.Stop()
	select {
	case err := <-e.Fatal():
		if !strings.Contains(err.Error(), "it was restored or replaced") {
			t.Errorf("said %q", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("nothing was noticed")
	}
	if e.HasLeader() {
		t.Error("it still counts as having a leader")
	}
}

// A restore may leave the revision higher than it was, so that it says nothing.
func TestExternal_AnEtcdThatWentBackIsKnownByItsTermToo(t *testing.T) {
	dir := t.TempDir()
	server := startForeign(t, etcdtest.Config{Dir: dir})
	for range 2 { // each start is an election
		server.Stop()
		server = startForeign(t, etcdtest.Config{Dir: dir})
	}
	e := connect(t, server.URL)
	server.Stop()
	soon(t, "it is known to be gone", func() bool { return !e.HasLeader() })
	if err := os.RemoveAll(filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	e.revision.Store(0) // as if what is there now were above it
	server = startForeign(t, etcdtest.Config{Dir: dir})
	defer server.Stop()
	defer e.Stop(context.Background())
	select {
	case err := <-e.Fatal():
		if !strings.Contains(err.Error(), "raft term") {
			t.Errorf("said %q", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("nothing was noticed")
	}
}

func TestExternal_SaysWhoKeepsItAndHowFullItIs(t *testing.T) {
	server := startForeign(t, etcdtest.Config{Quota: 64 << 20})
	defer server.Stop()
	e := connect(t, server.URL)
	info := e.Info()
	if info.Embedded || info.Quota != 64<<20 || info.DBSize == 0 || !strings.HasPrefix(info.EtcdVersion, "3.") {
		t.Errorf("%+v", info)
	}
	members := e.Members()
	if len(members) != 1 || members[0].Role != "leader" || members[0].Name != "test" || members[0].Version == "" {
		t.Errorf("%+v", members)
	}
	if grants, writes := e.Low(); grants || writes {
		t.Error("an empty database counts as full")
	}
}

func TestExternal_NoSpaceOfEtcdStopsWrites(t *testing.T) {
	server := startForeign(t, etcdtest.Config{Quota: 1 << 20})
	defer server.Stop()
	e := connect(t, server.URL)
	value := strings.Repeat("x", 200<<10)
	for i := range 20 {
		if _, err := e.Client().Put(t.Context(), "/other/"+string(rune('a'+i)), value); err != nil {
			break
		}
	}
	// etcd raises its alarm a moment after it refused the write.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if err := e.readStatus(t.Context()); err != nil {
			t.Fatal(err)
		}
		grants, writes := e.Low()
		if grants && writes {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("grants low %v, writes low %v; want both", grants, writes)
		}
	}
}

func TestConnect_SaysWhatIsWrong(t *testing.T) {
	server := startForeign(t, etcdtest.Config{})
	defer server.Stop()
	root, err := clientv3.New(clientv3.Config{Endpoints: []string{server.URL}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		cfg        ExternalConfig
		before     func()
	}{
		{name: "too many operations", want: "--max-txn-ops=500", cfg: ExternalConfig{TxnOps: 500}},
		{name: "a CA that is none", want: "etcd.ca", cfg: ExternalConfig{Endpoints: []string{"https://127.0.0.1:1"}, CA: password}},
		{name: "nobody there", want: "does not answer", cfg: ExternalConfig{Endpoints: []string{"unix:///nonexistent/socket"}, StartTimeout: time.Second}},
		{name: "a user it lacks", want: "etcd.password_file", cfg: ExternalConfig{Username: "lock", PasswordFile: password}, before: func() {
			for _, err := range []error{
				second(root.UserAdd(t.Context(), "root", "secret")), second(root.UserGrantRole(t.Context(), "root", "root")), second(root.AuthEnable(t.Context())),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
		}},
		{name: "no user", want: "etcd.username", cfg: ExternalConfig{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.before != nil {
				c.before()
			}
			if c.cfg.Endpoints == nil {
				c.cfg.Endpoints = []string{server.URL}
			}
			c.cfg.Prefix = "/lockkeeper/"
			e, err := Connect(t.Context(), c.cfg)
			if err == nil {
				e.Stop(context.Background())
				t.Fatal("it connected")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("said %q, want %q in it", err, c.want)
			}
		})
	}
}

func TestConnect_OverTLSBothSidesAreKnown(t *testing.T) {
	us, err := transport.SelfCert(zap.NewNop(), t.TempDir(), []string{"127.0.0.1:0"}, 1, x509.ExtKeyUsageClientAuth)
	if err != nil {
		t.Fatal(err)
	}
	strangers, err := transport.SelfCert(zap.NewNop(), t.TempDir(), []string{"127.0.0.1:0"}, 1, x509.ExtKeyUsageClientAuth)
	if err != nil {
		t.Fatal(err)
	}
	url := "https://" + freeAddress(t)
	server := startForeign(t, etcdtest.Config{Listen: url, TLS: transport.TLSInfo{
		CertFile: us.CertFile, KeyFile: us.KeyFile, TrustedCAFile: us.CertFile, ClientCertAuth: true,
	}})
	defer server.Stop()
	try := func(cfg ExternalConfig) error {
		cfg.Endpoints, cfg.Prefix = []string{url}, "/lockkeeper/"
		e, err := Connect(t.Context(), cfg)
		if err == nil {
			err = e.Stop(context.Background())
		}
		return err
	}
	if err := try(ExternalConfig{CA: us.CertFile, Cert: us.CertFile, Key: us.KeyFile}); err != nil {
		t.Errorf("with the right certificates: %v", err)
	}
	var all sync.WaitGroup
	for name, cfg := range map[string]ExternalConfig{ // each may become right while it is tried
		"no certificate":             {CA: us.CertFile},
		"a stranger's certificate":   {CA: us.CertFile, Cert: strangers.CertFile, Key: strangers.KeyFile},
		"a server of a stranger":     {CA: strangers.CertFile, Cert: us.CertFile, Key: us.KeyFile},
		"a server that nobody knows": {Cert: us.CertFile, Key: us.KeyFile},
	} {
		cfg.StartTimeout = 2 * time.Second
		all.Go(func() {
			if err := try(cfg); err == nil || !strings.Contains(err.Error(), url) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	all.Wait()
}

func second[T any](_ T, err error) error { return err }

func TestCheckEndpoints_RefusesWhatAnybodyCouldRead(t *testing.T) {
	for text, want := range map[string]string{
		"http://127.0.0.1:2379":                      "",
		"http://[::1]:2379":                          "",
		"http://localhost:2379":                      "",
		"unix:///run/etcd.sock":                      "",
		"https://etcd.example.com:2379":              "",
		"http://etcd.example.com:2379":               "etcd.insecure",
		"http://10.0.0.1:2379":                       "etcd.insecure",
		"etcd.example.com:2379":                      "want a URL",
		"https://etcd.example.com":                   "want a URL",
		"https://etcd.example.com:2379/v3":           "want a URL",
		"https://root:hunter2@etcd.example.com:2379": "etcd.password_file",
		"https://root:hunter2@etcd.example.com:x":    "is no URL",
		"": "want a URL",
	} {
		err := CheckEndpoints([]string{text}, false)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: said %v, want %q in it", text, err, want)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%s: the password is shown: %v", text, err)
		}
	}
	if err := CheckEndpoints([]string{"http://etcd.example.com:2379"}, true); err != nil {
		t.Errorf("allowed, and refused: %v", err)
	}
	if err := CheckEndpoints([]string{"http://127.0.0.1:2379", "https://127.0.0.1:2380"}, false); err == nil {
		t.Error("http beside https was taken")
	}
}

func TestOlder_ComparesMajorAndMinor(t *testing.T) {
	for version, want := range map[string]bool{"3.4.30": true, "2.3.8": true, "3.5.0": false, "3.5.0-rc.0": false, "3.10.1": false, "4.0": false, "": true} {
		if got := older(version, oldestEtcd); got != want {
			t.Errorf("%q older than %s: %v", version, oldestEtcd, got)
		}
	}
}

// A member whose host is off answers nothing at all, not even a refusal.
func TestConnect_OneMemberThatIsMuteStopsNothing(t *testing.T) {
	server := startForeign(t, etcdtest.Config{})
	defer server.Stop()
	socket := filepath.Join(t.TempDir(), "mute")
	mute, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	e, err := Connect(t.Context(), ExternalConfig{
		Endpoints: []string{"unix://" + socket, server.URL}, Prefix: "/lockkeeper/", StartTimeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Stop(context.Background())
	if err := e.readStatus(t.Context()); err != nil {
		t.Errorf("its figures: %v", err)
	}
	if info := e.Info(); info.DBSize == 0 || len(e.Members()) != 1 || e.Members()[0].Role != "leader" {
		t.Errorf("%+v, %+v", info, e.Members())
	}
}
