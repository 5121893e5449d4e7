package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
)

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
	Path   string `json:"path"`
	Exists bool   `json:"exists"`
	Mode   uint32 `json:"mode,omitempty"`
	UID    int    `json:"uid,omitempty"`
	GID    int    `json:"gid,omitempty"`
	File   string `json:"file,omitempty"` // in the generation's folder
}

// save keeps what the targets will replace, below dir. It is complete once dir
// is there, and is not made twice.
func (t *tree) save(dir, digest string, all []target) (generation, error) {
	g := generation{V: 1, Bundle: digest}
	tmp := dir + ".part"
	if err := os.RemoveAll(tmp); err != nil {
		return g, err
	}
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return g, err
	}
	for i, want := range all {
		now, err := t.look(want.path)
		if err != nil {
			return g, err
		}
		p := previous{Path: want.path, Exists: now.exists, Mode: uint32(now.mode), UID: now.uid, GID: now.gid}
		if now.exists {
			p.File = strconv.Itoa(i)
			if err := writeSynced(filepath.Join(tmp, p.File), now.content); err != nil {
				return g, err
			}
		}
		g.Files = append(g.Files, p)
		for d := path.Dir(want.path); d != "."; d = path.Dir(d) {
			if _, err := t.root.Stat(d); errors.Is(err, fs.ErrNotExist) && !slices.Contains(g.Made, d) {
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
	return g, true, nil
}

// putBack makes the files what they were. It may be called again.
func (t *tree) putBack(id, dir string, g generation) error {
	var again, gone []target
	for _, p := range g.Files {
		if !p.Exists {
			gone = append(gone, target{path: p.Path})
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, p.File))
		if err != nil {
			return err
		}
		again = append(again, target{path: p.Path, content: content, mode: fs.FileMode(p.Mode), uid: p.UID, gid: p.GID})
	}
	again, err := t.diff(again)
	if err != nil {
		return err
	}
	if err := t.install(id, again); err != nil {
		return err
	}
	for _, p := range gone {
		if err := t.root.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := t.step("remove " + p.path); err != nil {
			return err
		}
	}
	for _, p := range g.Files { // that a crash left behind
		if err := t.root.Remove(tempName(id, p.Path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, dir := range slices.Backward(g.Made) {
		// One that somebody else uses by now is not empty, and stays.
		_ = t.root.Remove(dir)
	}
	return t.sync(append(again, gone...))
}
