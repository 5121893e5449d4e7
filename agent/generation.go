package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
)

// generationVersion is the `v` of a generation that this program reads and writes.
const generationVersion = 1

// generation is what a bundle replaced on this host: meta.json, and each
// previous content in a file of its own.
type generation struct {
	V      int        `json:"v"`
	Bundle string     `json:"bundle"` // that replaced it
	Files  []previous `json:"files"`
	// Made are the folders that the bundle needs and that were not there,
	// outermost first.
	Made []string `json:"made,omitempty"`
}

type previous struct {
	Path   string     `json:"path"`
	Exists bool       `json:"exists"`
	Mode   uint32     `json:"mode,omitempty"`
	UID    int        `json:"uid,omitempty"`
	GID    int        `json:"gid,omitempty"`
	Attrs  attributes `json:"attrs,omitempty"`
	File   string     `json:"file,omitempty"` // in the generation's folder
	Size   int64      `json:"size,omitempty"`
	SHA256 string     `json:"sha256,omitempty"`
}

// partSuffix ends the name of a folder whose generation is not complete.
const partSuffix = ".part"

// save keeps what the targets will replace, below dir. It is complete once dir
// is there, and is not made twice.
func (t *tree) save(dir, digest string, all []target) (generation, error) {
	g := generation{V: generationVersion, Bundle: digest}
	tmp := dir + partSuffix
	if err := os.RemoveAll(tmp); err != nil {
		return g, err
	}
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return g, err
	}
	for i, want := range all {
		p, err := t.keep(want.path, tmp, strconv.Itoa(i))
		if err != nil {
			return g, err
		}
		g.Files = append(g.Files, p)
		for d := path.Dir(want.path); d != "."; d = path.Dir(d) {
			switch missing, err := t.missing(d); {
			case err != nil:
				return g, err
			case missing && !slices.Contains(g.Made, d):
				g.Made = append(g.Made, d)
			}
		}
	}
	slices.Sort(g.Made)
	text, err := json.Marshal(g)
	if err != nil {
		return g, err
	}
	if err := writeSynced(filepath.Join(tmp, "meta.json"), text); err != nil {
		return g, err
	}
	if err := syncDir(tmp); err != nil {
		return g, err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return g, err
	}
	return g, syncDir(filepath.Dir(dir))
}

// keep copies a file as it is now into the folder dir under that name.
func (t *tree) keep(file, dir, name string) (previous, error) {
	now, err := t.look(file)
	if err != nil || !now.exists() {
		return previous{Path: file}, err
	}
	defer now.Close()
	p := previous{
		Path: file, Exists: true, Mode: uint32(now.mode), UID: now.uid, GID: now.gid, Attrs: now.attrs, File: name,
	}
	to, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return p, err
	}
	defer to.Close()
	sum := sha256.New()
	if p.Size, err = io.Copy(io.MultiWriter(to, sum), now.file); err != nil {
		return p, fmt.Errorf("/%s: %w", file, err)
	}
	p.SHA256 = hex.EncodeToString(sum.Sum(nil))
	if err := to.Sync(); err != nil {
		return p, err
	}
	return p, to.Close()
}

// missing reports a folder that is not there.
func (t *tree) missing(dir string) (bool, error) {
	in, err := t.folder(path.Join(dir, "x"), false)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, in.Close()
}

func writeSynced(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// loadGeneration reads a complete generation; ok is false when there is none.
func loadGeneration(dir string) (g generation, ok bool, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return g, false, nil
	}
	if err != nil {
		return g, false, err
	}
	if err := json.Unmarshal(text, &g); err != nil {
		return g, false, fmt.Errorf("%s: %w", dir, err)
	}
	if g.V != generationVersion {
		return g, false, fmt.Errorf("%s has version %d, and this agent reads %d: start the one that wrote it", dir, g.V, generationVersion)
	}
	return g, true, nil
}

// target is the file as it was.
func (p *previous) target(dir string) target {
	t := target{
		path: p.Path, size: p.Size, sum: p.SHA256, mode: fs.FileMode(p.Mode), uid: p.UID, gid: p.GID, attrs: p.Attrs,
		open: func() (io.ReadCloser, error) { return os.Open(filepath.Join(dir, p.File)) },
	}
	if t.attrs == nil {
		t.attrs = attributes{}
	}
	return t
}

// putBack makes the files what they were. It may be called again.
func (t *tree) putBack(id, dir string, g generation) error {
	var again, all []target
	for _, p := range g.Files {
		all = append(all, target{path: p.Path})
		if p.Exists {
			again = append(again, p.target(dir))
		}
	}
	again, err := t.diff(again)
	if err != nil {
		return err
	}
	if err := t.install(id, again); err != nil {
		return err
	}
	for _, p := range g.Files {
		if p.Exists {
			continue
		}
		if err := t.remove(p.Path); err != nil {
			return err
		}
		if err := t.step("remove " + p.Path); err != nil {
			return err
		}
	}
	if err := t.removeTemps(id, all); err != nil { // that a crash left behind
		return err
	}
	for _, dir := range slices.Backward(g.Made) {
		// One that somebody else uses by now is not empty, and stays.
		_ = t.remove(dir)
	}
	return t.sync(all)
}
