package etcdnode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// logBuffer collects log lines of several goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func config(dir string) Config { return Config{DataDir: dir, Name: "test"} }

func startNode(t *testing.T, cfg Config) *Node {
	t.Helper()
	n, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() { stopNode(t, n) })
	return n
}

func stopNode(t *testing.T, n *Node) {
	t.Helper()
	if err := n.Stop(context.Background()); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func put(t *testing.T, n *Node, key, value string) {
	t.Helper()
	if _, err := n.Client().Put(t.Context(), key, value); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

func TestStart_EmptyFolderIsReadyQuicklyAndSaysThatItBootstrapped(t *testing.T) {
	var log logBuffer
	cfg := config(filepath.Join(t.TempDir(), "made", "when", "missing"))
	cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	begin := time.Now()
	n := startNode(t, cfg)
	if d := time.Since(begin); d > 2*time.Second && !raceEnabled {
		t.Errorf("ready after %s, want under 2 s", d)
	}
	if !n.Bootstrapped() || !n.HasLeader() {
		t.Errorf("Bootstrapped %v, HasLeader %v; want both", n.Bootstrapped(), n.HasLeader())
	}
	if !strings.Contains(log.String(), "level=WARN msg=\"a new cluster was bootstrapped") {
		t.Errorf("the bootstrap was not logged at warn:\n%s", log.String())
	}
	info := n.Info()
	if info.Quota != DefaultQuota || info.DBSize == 0 || info.DiskFree == 0 || info.Revision == 0 || !info.Embedded {
		t.Errorf("Info is %+v", info)
	}
	m := n.Members()
	if len(m) != 1 || !m[0].Self || m[0].Role != "leader" || !strings.HasPrefix(m[0].Name, "test-") || m[0].URL != "http://127.0.0.1:8080" {
		t.Errorf("Members is %+v", m)
	}
}

func TestStart_OpensNoPort(t *testing.T) {
	startNode(t, config(t.TempDir()))
	b, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	own := ownSocketInodes(t)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 9 && f[3] == "0A" && own[f[9]] {
			t.Errorf("this process listens on %s", f[1])
		}
	}
}

func ownSocketInodes(t *testing.T) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]bool{}
	for _, e := range entries {
		link, err := os.Readlink("/proc/self/fd/" + e.Name())
		if inode, ok := strings.CutPrefix(link, "socket:["); err == nil && ok {
			own[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return own
}

func TestStart_FindsItsDataAgain(t *testing.T) {
	dir := t.TempDir()
	n := startNode(t, config(dir))
	name := n.Members()[0].Name
	put(t, n, "a", "1")
	stopNode(t, n)

	n = startNode(t, config(dir))
	if n.Bootstrapped() {
		t.Error("the second start says that it bootstrapped")
	}
	if got := n.Members()[0].Name; got != name {
		t.Errorf("member is %q, was %q", got, name)
	}
	r, err := n.Client().Get(t.Context(), "a")
	if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != "1" {
		t.Errorf("Get: %v, %v", r, err)
	}
}

func TestStart_UnfinishedBootstrapIsDoneAgain(t *testing.T) {
	dir := t.TempDir()
	if err := newMarker("test").write(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, etcdDir, "member", "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if n := startNode(t, config(dir)); !n.Bootstrapped() {
		t.Error("the start does not say that it bootstrapped")
	}
}

func TestStart_SecondOnSameFolderIsRefusedAndNamesTheHolder(t *testing.T) {
	dir := t.TempDir()
	startNode(t, config(dir))
	begin := time.Now()
	_, err := Start(t.Context(), config(dir))
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), lockHolderSelf()) {
		t.Errorf("err is %v, want ErrLocked by %s", err, lockHolderSelf())
	}
	if d := time.Since(begin); d < lockWait || d > lockWait+time.Minute {
		t.Errorf("refused after %s, want about %s", d, lockWait)
	}
}

func TestStart_ForeignFolderIsRefusedUntouched(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), config(dir))
	if !errors.Is(err, ErrForeignFolder) || !strings.Contains(err.Error(), "thesis.txt") {
		t.Errorf("err is %v, want ErrForeignFolder that names the file", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v (%v), want what was there and nothing else", entries, err)
	}
}

func TestStart_LostAndFoundIsNotForeign(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	startNode(t, config(dir))
}

func TestStart_MarkerWithoutDataIsRefused(t *testing.T) {
	for _, lost := range []string{etcdDir, etcdDir + "/member/wal", etcdDir + "/member/snap/db"} {
		t.Run(lost, func(t *testing.T) {
			dir := t.TempDir()
			n := startNode(t, config(dir))
			stopNode(t, n)
			if err := os.RemoveAll(filepath.Join(dir, lost)); err != nil {
				t.Fatal(err)
			}
			_, err := Start(t.Context(), config(dir))
			if !errors.Is(err, ErrMarkerWithoutData) {
				t.Errorf("err is %v, want ErrMarkerWithoutData", err)
			}
		})
	}
}

func TestStart_DataWithoutMarkerIsForeign(t *testing.T) {
	dir := t.TempDir()
	n := startNode(t, config(dir))
	stopNode(t, n)
	if err := os.Remove(filepath.Join(dir, markerFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), config(dir)); !errors.Is(err, ErrForeignFolder) {
		t.Errorf("err is %v, want ErrForeignFolder", err)
	}
}

func TestStart_DamagedDataAreNamed(t *testing.T) {
	damage := map[string]func(path string) error{
		"overwritten database": func(dir string) error {
			return os.WriteFile(dir+"/snap/db", bytes.Repeat([]byte("no database "), 4096), 0o600)
		},
		"truncated database": func(dir string) error { return os.Truncate(dir+"/snap/db", 9000) },
		"overwritten log": func(dir string) error {
			wals, err := filepath.Glob(dir + "/wal/*.wal")
			if err != nil || len(wals) == 0 {
				return errors.Join(err, errors.New("no log found"))
			}
			return os.WriteFile(wals[0], bytes.Repeat([]byte("no log "), 4096), 0o600)
		},
	}
	for name, harm := range damage {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			n := startNode(t, config(dir))
			put(t, n, "a", "1")
			stopNode(t, n)
			if err := harm(filepath.Join(dir, etcdDir, "member")); err != nil {
				t.Fatal(err)
			}
			_, err := Start(t.Context(), config(dir))
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("err is %v, want ErrCorrupt", err)
			}
			t.Log(err)
		})
	}
}

func TestStart_UnwritableFolderIsAClearError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), config(filepath.Join(file, "data")))
	if err == nil || !strings.Contains(err.Error(), "give a folder that this user may write") {
		t.Errorf("err is %v", err)
	}
}

func TestStart_ReadOnlyFileSystemIsAClearError(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_RDONLY, "size=1m"); err != nil {
		needPrivileges(t, err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	_, err := Start(t.Context(), config(dir))
	if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("err is %v", err)
	}
}

func TestStart_FullDiskIsWaitedForAndSaid(t *testing.T) {
	var log logBuffer
	cfg := config(t.TempDir())
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := start(ctx, cfg, func(string) (int64, error) { return 1 << 20, nil })
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 MB free") {
		t.Errorf("err is %v", err)
	}
	if !strings.Contains(log.String(), "too full to start on") {
		t.Errorf("the log does not say it:\n%s", log.String())
	}
	startNode(t, cfg) // with room again, in the same folder
}

func TestStart_AnyTextIsAName(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.Name = "a=b,c d/é"
	if got := startNode(t, cfg).Members()[0].Name; !strings.HasPrefix(got, "a-b-c-d---") {
		t.Errorf("member is %q", got)
	}
}

func lockHolderSelf() string { return fmt.Sprintf("process %d", os.Getpid()) }

// needPrivileges skips a test that may not mount here; under `make test`
// nothing is skipped, so there it fails.
func needPrivileges(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("LOCKKEEPER_TEST_REQUIRE_ALL") != "" {
		t.Fatalf("run as root: mounting failed: %v", err)
	}
	t.Skipf("needs root, to mount a small file system: %v", err)
}
