package agent

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// journalVersion is the `v` that this program reads and writes.
const journalVersion = 1

// Errors of the state folder.
var (
	// ErrDamaged: the journal is not what was written. Whether this host holds
	// a slot is not known then, so the agent does nothing.
	ErrDamaged = errors.New("the journal is damaged")
	// ErrNewer: a newer agent wrote the journal.
	ErrNewer = errors.New("the journal was written by a newer agent")
	// ErrOtherNode: the journal stands in the middle of a job of another node.
	ErrOtherNode = errors.New("the journal is another node's")
	// ErrLocked: another agent uses the state folder.
	ErrLocked = errors.New("another agent uses this state folder")
)

// folder is the agent's state on disk.
type folder struct{ dir string }

func (f folder) path(elem ...string) string {
	return filepath.Join(append([]string{f.dir}, elem...)...)
}

// make makes the folder and returns its lock.
func (f folder) make() (release func(), err error) {
	for _, d := range []string{f.dir, f.path("bundles"), f.path("generations")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("state folder: %w", err)
		}
	}
	// A journal is durable only if the folder that it is in is.
	for _, d := range []string{f.dir, filepath.Dir(f.dir)} {
		if err := syncDir(d); err != nil {
			return nil, fmt.Errorf("state folder: %w", err)
		}
	}
	// For reading: it can be had on a disk that has become read-only, and keeps
	// none from being made so.
	lock, err := os.OpenFile(f.path("lock"), os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrLocked, f.dir)
		}
		return nil, fmt.Errorf("state folder: lock %s: %w", lock.Name(), err)
	}
	return func() { lock.Close() }, nil
}

// reserved is how much room is kept for the journal, in bytes: it is replaced by
// a file beside it, and a few blocks are enough for that.
const reserved = 64 << 10

// reserve keeps room on the disk, so that a job that was begun can be recorded to
// its end however full the disk becomes.
func (f folder) reserve() error {
	name := f.path("reserve")
	if info, err := os.Stat(name); err == nil && info.Size() == reserved {
		return nil
	}
	// Random, since a file system may keep zeros without taking room for them.
	room := make([]byte, reserved)
	_, _ = rand.Read(room)
	if err := writeSynced(name, room); err != nil {
		_ = os.Remove(name)
		return err
	}
	return syncDir(f.dir)
}

// saveJournal writes the journal, on a full disk into the room kept for it.
func (f folder) saveJournal(data []byte) error {
	err := f.write("journal.json", data)
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) || os.Remove(f.path("reserve")) != nil {
		return err
	}
	return f.write("journal.json", data)
}

// write replaces a file so that after a crash the old or the new one is there.
func (f folder) write(name string, data []byte) error {
	file := f.path(name)
	if err := renameio.WriteFile(file, data, 0o600, renameio.WithTempDir(filepath.Dir(file))); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// syncDir makes renames in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// envelope is the journal file: the state, and what shows that it is whole.
type envelope struct {
	V   int             `json:"v"`
	Sum string          `json:"sha256"` // of the state's compact JSON, in hex
	S   json.RawMessage `json:"state"`
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (f folder) saveState(s State) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	text, err := json.Marshal(envelope{V: journalVersion, Sum: digest(body), S: body})
	if err != nil {
		return err
	}
	if err := f.saveJournal(append(text, '\n')); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// ReadJournal reads the journal in a state folder. A folder without one is
// that of an idle agent.
func ReadJournal(stateDir string) (State, error) { return folder{stateDir}.loadState() }

func (f folder) loadState() (State, error) {
	s := State{Phase: api.PhaseIdle}
	file := f.path("journal.json")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("journal: %w", err)
	}
	var e envelope
	if err := json.Unmarshal(text, &e); err != nil {
		return s, damaged(file, err.Error())
	}
	if e.V > journalVersion {
		return s, fmt.Errorf("%w: %s has version %d, and this one reads %d", ErrNewer, file, e.V, journalVersion)
	}
	var body bytes.Buffer
	if err := json.Compact(&body, e.S); err != nil || digest(body.Bytes()) != e.Sum {
		return s, damaged(file, "its checksum is not that of its content")
	}
	if err := json.Unmarshal(e.S, &s); err != nil {
		return s, damaged(file, err.Error())
	}
	return s, nil
}

func damaged(file, why string) error {
	return fmt.Errorf("%w: %s: %s. See with `lockkeeper hold list` whether this host holds a slot and what it was doing; then move the file away and start the agent", ErrDamaged, file, why)
}

// instance is the random id of this installation, made at its first start.
func (f folder) instance() (string, error) {
	b, err := os.ReadFile(f.path("instance"))
	if err == nil {
		if id := strings.TrimSpace(string(b)); id != "" {
			return id, nil
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("instance id: %w", err)
	}
	id := rand.Text()
	if err := f.write("instance", []byte(id+"\n")); err != nil {
		return "", fmt.Errorf("instance id: %w", err)
	}
	return id, nil
}

// Pin is the one cluster that an agent believes (RULES 6).
type Pin struct {
	Cluster     string `json:"cluster"`
	Incarnation int64  `json:"incarnation"`
}

// ReadPin reads the pinned cluster; a zero Pin is none.
func ReadPin(stateDir string) (Pin, error) { return folder{stateDir}.loadPin() }

func (f folder) loadPin() (Pin, error) {
	var p Pin
	b, err := os.ReadFile(f.path("cluster.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("pinned cluster: %w", err)
	}
	if err := json.Unmarshal(b, &p); err != nil || p.Cluster == "" {
		return p, fmt.Errorf("pinned cluster: %s is damaged; `lockkeeper-agent trust` makes it anew", f.path("cluster.json"))
	}
	return p, nil
}

func (f folder) savePin(p Pin) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := f.write("cluster.json", append(b, '\n')); err != nil {
		return fmt.Errorf("pinned cluster: %w", err)
	}
	return nil
}

// Trust forgets the pinned cluster, so that the next one that answers is
// pinned. A running agent takes notice. It returns what was pinned.
func Trust(stateDir string) (Pin, error) {
	f := folder{stateDir}
	was, _ := f.loadPin() // a damaged pin is what this is for
	err := os.Remove(f.path("cluster.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return Pin{}, nil
	}
	if err != nil {
		return was, fmt.Errorf("pinned cluster: %w", err)
	}
	return was, syncDir(stateDir)
}
