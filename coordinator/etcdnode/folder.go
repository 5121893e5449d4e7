package etcdnode

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
)

// Names in the data folder.
const (
	lockFile   = "lock"
	markerFile = "lockkeeper.json"
	etcdDir    = "etcd"
)

// lockWait is how long Start waits for another process to leave the folder: a
// restart by a supervisor may overlap with the end of the one before.
const lockWait = 2 * time.Second

// marker says that a cluster was bootstrapped in the folder.
type marker struct {
	V int `json:"v"`
	// Name of the member: the node's name and a random suffix, since two
	// members of one name end etcd.
	Name string `json:"name"`
	// Token is etcd's initial cluster token: random, so that members of two
	// clusters never take each other for theirs.
	Token     string    `json:"cluster_token"`
	CreatedAt time.Time `json:"created_at"`
	// Complete is set once etcd was ready for the first time. Before that
	// nobody was answered, and the bootstrap may be done again.
	Complete bool `json:"complete"`
	// Restoring names the snapshot that is being put back into the folder. Before
	// Complete its data are of the past: slots in them may be taken since.
	Restoring string `json:"restoring,omitempty"`
	// Joining is set until a member that joins a cluster has caught up for the
	// first time.
	Joining *joining `json:"joining,omitempty"`
	// Clustered: there are, or were, other members. What they share cannot be
	// made anew here.
	Clustered bool `json:"clustered,omitempty"`
	// Recovering is set while recovered data take the place of those of before.
	Recovering *recovering `json:"recovering,omitempty"`
	// Removed is when this member was found to be removed from its cluster.
	Removed time.Time `json:"removed_at,omitzero"`
}

// joining is how far a join has come.
type joining struct {
	MemberID string `json:"member_id,omitempty"` // that the cluster gave this member
	Members  string `json:"members,omitempty"`   // as etcd's initial cluster
}

// openFolder makes the folder if it is missing and locks it against other
// processes and other Starts of this one.
func openFolder(ctx context.Context, dir string, wait time.Duration) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder %s cannot be made: %w; give a folder that this user may write", dir, err)
	}
	// Somebody else's folder is left as it is, without even a lock in it.
	if _, err := inspect(dir); errors.Is(err, ErrForeignFolder) {
		return nil, err
	}
	return lockFolder(ctx, dir, wait)
}

// LockFolder makes the folder of a coordinator whose store is elsewhere, and
// keeps other processes out of it until it is closed. A folder with an embedded
// store is refused: its holds would be forgotten.
func LockFolder(ctx context.Context, dir string) (io.Closer, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder %s cannot be made: %w; give a folder that this user may write", dir, err)
	}
	if _, err := os.Stat(filepath.Join(dir, markerFile)); err == nil {
		return nil, fmt.Errorf("data folder %s: %w, whose holds are not carried over; leave etcd.endpoints out to use it, or give another folder",
			dir, ErrEmbeddedHere)
	}
	return lockFolder(ctx, dir, lockWait)
}

func lockFolder(ctx context.Context, dir string, wait time.Duration) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder %s cannot be written: %w; give a folder that this user may write", dir, err)
	}
	deadline := time.Now().Add(wait)
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("data folder %s cannot be locked: %w", dir, err), f.Close())
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("data folder %s: %w by %s", dir, ErrLocked, lockHolder(f)), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), f.Close())
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err := writePID(f); err != nil {
		return nil, errors.Join(fmt.Errorf("data folder %s cannot be written: %w", dir, err), f.Close())
	}
	return f, nil
}

// writePID says who holds the lock. The pid informs people; the lock counts.
// On a full disk it may be left out.
func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	if errors.Is(err, syscall.ENOSPC) {
		return nil
	}
	return err
}

func lockHolder(f *os.File) string {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0)
	if pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n]))); err == nil {
		return fmt.Sprintf("process %d", pid)
	}
	return "another process"
}

// inspect tells what the folder is: nothing (nil, nil), a store (its marker),
// or a refusal.
func inspect(dir string) (*marker, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("data folder %s cannot be read: %w", dir, err)
	}
	var others []string
	var marked, data bool
	for _, e := range entries {
		switch e.Name() {
		case lockFile, "lost+found": // the second is in every fresh ext4
		case markerFile:
			marked = true
		case etcdDir:
			data = true
		default:
			others = append(others, e.Name())
		}
	}
	if !marked {
		if data {
			others = append(others, etcdDir)
		}
		if len(others) > 0 {
			return nil, fmt.Errorf("data folder %s: %w: it has %s but no %s; a new cluster starts only in a folder that holds nothing at all",
				dir, ErrForeignFolder, strings.Join(others, ", "), markerFile)
		}
		return nil, nil
	}
	m, err := readMarker(dir)
	if err != nil {
		return nil, err
	}
	if !m.Removed.IsZero() {
		return nil, fmt.Errorf("data folder %s: %w: %s", dir, ErrRemoved, m.afterRemoval())
	}
	if m.Recovering != nil {
		return nil, fmt.Errorf("data folder %s: %w: run `lockkeeperd recover` again with this folder", dir, ErrRecovering)
	}
	if !m.Complete {
		if m.Restoring != "" {
			return nil, fmt.Errorf("data folder %s: %w, from %s: run `lockkeeperd restore` again with this folder, nothing in it was ever served",
				dir, ErrRestoring, m.Restoring)
		}
		return m, nil
	}
	for _, need := range []string{"member/wal", "member/snap/db"} {
		if _, err := os.Stat(filepath.Join(dir, etcdDir, need)); errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("data folder %s: %w: %s says that a cluster was made here on %s, but %s/%s is missing",
				dir, ErrMarkerWithoutData, markerFile, m.CreatedAt.Format(time.DateOnly), etcdDir, need)
		}
	}
	return m, nil
}

// afterRemoval says when it was found out, and what to do.
func (m *marker) afterRemoval() string {
	return fmt.Sprintf("member %s, as it found out on %s; its data are behind, and are not used any more. To let this host join again, make a token (`lockkeeper cluster token`) and start it with --join and another folder, or this one emptied",
		m.Name, m.Removed.Format(time.RFC3339))
}

// afterDamage adds to an error of damaged data what to do. It is never to put an
// older copy in their place: that knows nothing of what was granted since.
func afterDamage(dir string, err error) error {
	if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrMarkerWithoutData) {
		return err
	}
	m, unread := readMarker(dir)
	switch {
	case unread != nil:
		return fmt.Errorf("%w; if it was one of several coordinators replace it (`lockkeeper cluster replace`), else restore a snapshot into an empty folder (`lockkeeperd restore`)", err)
	case m.Clustered:
		return fmt.Errorf("%w; replace this member (`lockkeeper cluster replace %s`)", err, m.Name)
	}
	return fmt.Errorf("%w; restore a snapshot into an empty folder (`lockkeeperd restore`)", err)
}

func readMarker(dir string) (*marker, error) {
	path := filepath.Join(dir, markerFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("data folder %s cannot be read: %w", dir, err)
	}
	m := new(marker)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("%s: %w: not a marker of Lockkeeper: %w", path, ErrCorrupt, err)
	}
	if m.Name == "" || m.Token == "" {
		return nil, fmt.Errorf("%s: %w: not a marker of Lockkeeper: name or token is missing", path, ErrCorrupt)
	}
	if m.V > 1 {
		return nil, fmt.Errorf("%s: version %d was written by a newer lockkeeperd; this one reads 1", path, m.V)
	}
	return m, nil
}

func newMarker(name string) *marker {
	return &marker{
		V:         1,
		Name:      memberName(name) + "-" + randomHex(4),
		Token:     randomHex(16),
		CreatedAt: time.Now().UTC().Truncate(time.Second),
	}
}

// memberName replaces what etcd's list of members takes for its own: commas,
// equal signs, and all else that is unusual in a name.
func memberName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-' {
			return r
		}
		return '-'
	}, name)
}

// write puts the marker in place: temporary file, fsync, rename, fsync of the
// folder.
func (m *marker) write(dir string) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(dir, markerFile), append(b, '\n'), 0o600, renameio.WithTempDir(dir)); err != nil {
		return fmt.Errorf("data folder %s cannot be written: %w", dir, err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
