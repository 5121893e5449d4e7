package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/lockkeeper/lockkeeper/coordinator/snapshotfile"
)

// Errors of Recover.
var (
	// ErrQuorumPossible: another member is there, so that a majority may be.
	ErrQuorumPossible = errors.New("a majority may be there")
	// ErrNothingToRecover: the folder is of no member whose others could be lost.
	ErrNothingToRecover = errors.New("there is nothing to recover")
	// ErrLostNotNamed: not all other members, or others than those, were named as
	// lost.
	ErrLostNotNamed = errors.New("name as lost all other members of the cluster")
)

// recoverDir is where a recovery prepares what will be served. Until the switch
// nothing outside of it has changed.
const recoverDir = "recovering"

// asidePrefix begins the name of the folder that keeps what was before.
const asidePrefix = "before-recovery-"

// RecoverConfig says which member's folder to recover, and who is lost.
type RecoverConfig struct {
	// Config of the member that is made: DataDir, Name, Logger, Quota.
	Config
	Prefix string // of the keys that make it a store of Lockkeeper, "/lockkeeper/"
	// Lost names every other member: by name, the beginning of one, or id.
	Lost   []string
	DryRun bool // find out, and change nothing
	// Begin is told what was found before anything is changed.
	Begin func(Recovery)
	// Prepare changes the data before anybody can be served from them, as that of
	// RestoreConfig. It is given what is known of where they come from.
	Prepare func(ctx context.Context, n *Node, r Recovery) error
}

// Recovery is what was found.
type Recovery struct {
	Member Peer // whose folder it is
	Lost   []Peer
	Term   uint64 // of the last entry in its log
	Last   uint64 // index of that: of two members the one with the higher term, then index, knows more
	// Unsure is how many entries at the end of its log it did not know a majority
	// to have. They are kept.
	Unsure uint64
	// Aside is the folder that keeps the data as they were.
	Aside string
	// Resumed: the last step of a recovery that was cut off was all that was left.
	Resumed bool
}

// recovering is the last step of a recovery: what was prepared takes the place
// of what was there.
type recovering struct {
	Aside string `json:"aside"` // name of the folder for what was there
}

// Recover makes, of the folder of a member whose majority is lost for good, that
// of a new cluster of one member with all that this one has. It refuses while
// any other member can be reached, or this one runs. It can be cut off anywhere
// and begun anew: until the switch the folder is as it was, and after that it is
// ErrRecovering until the switch is finished.
//
// The new cluster has an id and an authority of its own, so that no member of
// before gets into it unasked.
func Recover(ctx context.Context, cfg RecoverConfig) (r Recovery, err error) {
	if cfg.Config, err = cfg.withDefaults(); err != nil {
		return Recovery{}, err
	}
	dir := cfg.DataDir
	if _, err := os.Stat(filepath.Join(dir, markerFile)); errors.Is(err, fs.ErrNotExist) {
		return Recovery{}, fmt.Errorf("data folder %s: %w: there is no %s in it; give the data folder of a member that is left, or restore a snapshot with `lockkeeperd restore`", dir, ErrNothingToRecover, markerFile)
	}
	lock, err := lockFolder(ctx, dir, lockWait)
	if err != nil {
		return Recovery{}, err
	}
	defer lock.Close()
	if !cfg.DryRun {
		defer func() { err = errors.Join(err, handOver(dir)) }()
	}
	m, err := readMarker(dir)
	if err != nil {
		return Recovery{}, err
	}
	if m.Recovering != nil {
		return resume(cfg, m)
	}
	if _, err := inspect(dir); err != nil {
		return Recovery{}, err
	}
	if !m.Complete {
		return Recovery{}, fmt.Errorf("data folder %s: %w: its member never was one of a cluster", dir, ErrNothingToRecover)
	}
	if r, err = look(ctx, cfg); err != nil {
		return r, err
	}
	if cfg.Begin != nil {
		cfg.Begin(r)
	}
	if cfg.DryRun {
		return r, nil
	}
	return r, carryOut(ctx, cfg, m, r)
}

// look finds out whose folder it is, and that the others are named and gone.
func look(ctx context.Context, cfg RecoverConfig) (Recovery, error) {
	dir := cfg.DataDir
	s, err := survey(dir, cfg.Logger)
	if err != nil {
		return Recovery{}, fmt.Errorf("data folder %s: %w; recover another member that is left, or restore a snapshot with `lockkeeperd restore`", dir, err)
	}
	r := Recovery{Member: s.self, Lost: s.others, Term: s.term, Last: s.last, Unsure: s.last - min(s.last, s.agreed),
		Aside: filepath.Join(dir, asidePrefix+time.Now().UTC().Format("20060102-150405"))}
	switch {
	case s.self.ID == "":
		return r, fmt.Errorf("data folder %s: %w: its member was removed from the cluster", dir, ErrNothingToRecover)
	case len(s.others) == 0:
		var err error
		if !cfg.DryRun { // of a recovery that was done
			err = os.RemoveAll(filepath.Join(dir, recoverDir))
		}
		return r, errors.Join(fmt.Errorf("data folder %s: %w: %s is the only member of its cluster; start it with `lockkeeperd serve`", dir, ErrNothingToRecover, s.self.Name), err)
	case s.learner:
		return r, fmt.Errorf("data folder %s: %w: %s had no vote, and may lack what the others agreed on; recover a member that had one, or restore a snapshot with `lockkeeperd restore`", dir, ErrNothingToRecover, s.self.Name)
	}
	if err := named(s.others, cfg.Lost); err != nil {
		return r, err
	}
	if err := nobodyThere(ctx, s.others); err != nil {
		return r, err
	}
	size, err := folderSize(filepath.Join(dir, etcdDir))
	if err != nil {
		return r, fmt.Errorf("data folder %s cannot be read: %w", dir, err)
	}
	return r, checkRoom(dir, size)
}

// named makes sure that the names are of all these members and of no other.
func named(others []Peer, names []string) error {
	left := map[string]Peer{}
	var all []string
	for _, p := range others {
		left[p.ID] = p
		all = append(all, p.Called())
	}
	wrong := func(what string) error {
		return fmt.Errorf("%w: %s: the others are %s", ErrLostNotNamed, what, strings.Join(all, ", "))
	}
	for _, name := range names {
		var found []Peer
		for _, p := range others {
			if p.ID == name || p.Name == name {
				found = []Peer{p}
				break
			}
			if name != "" && strings.HasPrefix(p.Name, name) {
				found = append(found, p)
			}
		}
		if len(found) != 1 {
			return wrong(fmt.Sprintf("%q is not one of them", name))
		}
		delete(left, found[0].ID)
	}
	if len(left) > 0 {
		var missing []string
		for _, p := range others {
			if _, ok := left[p.ID]; ok {
				missing = append(missing, p.Called())
			}
		}
		return wrong("missing is " + strings.Join(missing, ", "))
	}
	return nil
}

// nobodyThere makes sure that no other member takes a connection. One that does
// not answer, because it stands still, takes it all the same.
func nobodyThere(ctx context.Context, others []Peer) error {
	var mu sync.Mutex
	var all sync.WaitGroup
	var there []string
	for _, p := range others {
		all.Go(func() {
			u, err := url.Parse(p.PeerURL)
			if err != nil || u.Host == "" {
				return
			}
			dialer := net.Dialer{Timeout: reachTimeout}
			c, err := dialer.DialContext(ctx, "tcp", u.Host)
			if err != nil {
				return
			}
			_ = c.Close()
			mu.Lock()
			defer mu.Unlock()
			there = append(there, p.Called()+" at "+p.PeerURL)
		})
	}
	all.Wait()
	if len(there) > 0 {
		return fmt.Errorf("%w: %s takes connections: start this member and it, and a majority of the members goes on by itself; if it is really lost, stop what is there first",
			ErrQuorumPossible, strings.Join(there, ", "))
	}
	return ctx.Err()
}

// carryOut prepares the new cluster beside the old one, and switches.
func carryOut(ctx context.Context, cfg RecoverConfig, m *marker, r Recovery) error {
	dir := cfg.DataDir
	work := filepath.Join(dir, recoverDir)
	if err := os.RemoveAll(work); err != nil { // of one that was cut off
		return fmt.Errorf("data folder %s cannot be written: %w", dir, err)
	}
	file := filepath.Join(work, "all"+snapshotfile.Suffix)
	if err := collect(ctx, cfg, m, filepath.Join(work, "copy"), file); err != nil {
		return fmt.Errorf("data folder %s: what %s has cannot be collected: %w", dir, r.Member.Name, err)
	}
	name := cfg.Name
	if i := strings.LastIndexByte(m.Name, '-'); i > 0 {
		name = m.Name[:i]
	}
	fresh := cfg.Config
	fresh.DataDir, fresh.Name, fresh.Peer, fresh.Join = filepath.Join(work, "new"), name, PeerConfig{}, nil
	_, err := Restore(ctx, RestoreConfig{
		Config: fresh, File: file, Prefix: cfg.Prefix,
		Prepare: func(ctx context.Context, n *Node) error { return cfg.Prepare(ctx, n, r) },
	})
	if err != nil {
		return err
	}
	// It took a while: somebody may have come back.
	if err := nobodyThere(ctx, r.Lost); err != nil {
		return err
	}
	m.Recovering = &recovering{Aside: filepath.Base(r.Aside)}
	if err := m.write(dir); err != nil {
		return err
	}
	return switchOver(dir, m)
}

// collect writes a snapshot of all that the folder's member has, of a copy that
// is told that it is alone.
func collect(ctx context.Context, cfg RecoverConfig, m *marker, dir, file string) (err error) {
	etcd := filepath.Join(dir, etcdDir)
	if err := copyTree(filepath.Join(cfg.DataDir, etcdDir), etcd); err != nil {
		return err
	}
	if err := apart(cfg.Logger, func(lg *zap.Logger) error { return agreeOnAll(lg, etcd) }); err != nil {
		return fmt.Errorf("%w: its log: %w", ErrCorrupt, err)
	}
	alone := cfg.Config
	alone.DataDir, alone.Peer, alone.Join = dir, PeerConfig{}, nil
	n := &Node{cfg: alone, forced: true, fatal: make(chan error, 1), changed: make(chan struct{})}
	if err := n.startEtcd(ctx, &marker{V: m.V, Name: m.Name, Token: m.Token, Complete: true}); err != nil {
		return err
	}
	n.client = inProcess(n.etcd.Server)
	defer func() {
		_ = n.client.Close() // says "context canceled" when all is well
		err = errors.Join(err, n.close())
	}()
	stream, err := n.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	_, err = snapshotfile.Write(file, stream)
	return err
}

// copyTree copies a folder of plain files. What etcd made in advance is left out.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case !d.Type().IsRegular(), strings.HasSuffix(path, ".tmp"):
			return nil
		}
		return copyFile(path, target)
	})
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func folderSize(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

// resume finishes the switch of a recovery that was cut off in it.
func resume(cfg RecoverConfig, m *marker) (Recovery, error) {
	r := Recovery{Member: Peer{Name: m.Name}, Aside: filepath.Join(cfg.DataDir, m.Recovering.Aside), Resumed: true}
	if cfg.Begin != nil {
		cfg.Begin(r)
	}
	if cfg.DryRun {
		return r, nil
	}
	return r, switchOver(cfg.DataDir, m)
}

// switchOver puts what was prepared in the place of what was there. Each step
// looks whether it was done already.
func switchOver(dir string, m *marker) error {
	aside, fresh := filepath.Join(dir, m.Recovering.Aside), filepath.Join(dir, recoverDir, "new")
	err := func() error {
		now, err := readMarker(fresh)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(aside, 0o700); err != nil {
			return err
		}
		was := *m
		was.Recovering = nil
		if err := was.write(aside); err != nil {
			return err
		}
		for _, name := range []string{etcdDir, peerDir} {
			if err := moveOnce(filepath.Join(dir, name), filepath.Join(aside, name)); err != nil {
				return err
			}
		}
		if err := moveOnce(filepath.Join(fresh, etcdDir), filepath.Join(dir, etcdDir)); err != nil {
			return err
		}
		if err := errors.Join(syncFolder(aside), syncFolder(fresh)); err != nil {
			return err
		}
		return now.write(dir) // and syncs the folder
	}()
	if err != nil {
		return fmt.Errorf("data folder %s: the switch to the recovered data: %w; mend that, and run `lockkeeperd recover` again", dir, err)
	}
	return os.RemoveAll(filepath.Join(dir, recoverDir))
}

// handOver gives all in the folder to its owner, when it is root who recovers it:
// the coordinator may run as a user who could not read it else.
func handOver(dir string) error {
	info, err := os.Stat(dir)
	if err != nil || os.Geteuid() != 0 {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	})
}

// moveOnce moves a folder that has not been moved yet.
func moveOnce(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return nil
	}
	if err := os.Rename(from, to); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
