// Package create makes a bundle from a source folder:
//
//	DIR/bundle.yaml    what the bundle does
//	DIR/files/etc/…    the content; the path below files/ is the path on the host
package create

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// source is bundle.yaml.
type source struct {
	Name             string           `yaml:"name"`
	DefaultInterrupt string           `yaml:"default_interrupt"`
	Units            []string         `yaml:"units"`
	Files            map[string]entry `yaml:"files"`
	Check            *command         `yaml:"check"`
	Command          *command         `yaml:"command"`
	Health           []probe          `yaml:"health"`
	// Left out, they are the defaults; min_healthy_time is at most half of a
	// deadline that is given then. 0s is written as such.
	MinHealthyTime  *bundle.Duration `yaml:"min_healthy_time"`
	HealthyDeadline *bundle.Duration `yaml:"healthy_deadline"`
}

// entry says how one file differs from the defaults.
type entry struct {
	Mode      mode     `yaml:"mode"`
	Owner     string   `yaml:"owner"`
	Interrupt string   `yaml:"interrupt"`
	Units     []string `yaml:"units"`
	Render    bool     `yaml:"render"`
}

// mode is an octal mode as it is written, quoted or not: YAML would make a
// number of 0644.
type mode string

func (m *mode) UnmarshalYAML(b []byte) error {
	*m = mode(strings.Trim(strings.TrimSpace(string(b)), `"'`))
	return nil
}

type command struct {
	Run     string          `yaml:"run"`
	Timeout bundle.Duration `yaml:"timeout"`
}

type probe struct {
	Command string          `yaml:"command"`
	HTTP    string          `yaml:"http"`
	TCP     string          `yaml:"tcp"`
	Timeout bundle.Duration `yaml:"timeout"`
}

// notCarriedOut are interrupts that the design names and this version does not do.
var notCarriedOut = []string{"soft-reboot", "kexec"}

// Build reads the source folder dir and writes the bundle to w. What is wrong
// in the source comes back as an *api.Error that says what, where and what is
// accepted; nothing is written then.
func Build(dir string, w io.Writer) (bundle.Manifest, error) {
	src, err := readSource(filepath.Join(dir, "bundle.yaml"))
	if err != nil {
		return bundle.Manifest{}, err
	}
	content, modes, err := readFiles(filepath.Join(dir, "files"))
	if err != nil {
		return bundle.Manifest{}, err
	}
	m, err := src.manifest(content, modes)
	if err != nil {
		return bundle.Manifest{}, err
	}
	b, err := bundle.Encode(m, content)
	if err != nil {
		return bundle.Manifest{}, err
	}
	done, err := bundle.Parse(b)
	if err != nil {
		return bundle.Manifest{}, err
	}
	if _, err := w.Write(b); err != nil {
		return bundle.Manifest{}, err
	}
	return done.Manifest, nil
}

func bad(format string, args ...any) error { return api.Errorf(api.Invalid, format, args...) }

func readSource(file string) (*source, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, bad("bundle: %s is missing; accepted: a folder with bundle.yaml and files/", file)
	}
	if err != nil {
		return nil, err
	}
	var src source
	if err := yaml.UnmarshalWithOptions(text, &src, yaml.Strict()); err != nil && !errors.Is(err, io.EOF) {
		// Without the neighbouring lines: they may hold secrets.
		return nil, bad("bundle: %s:%s; accepted: name, default_interrupt, units, files, check, command, health, min_healthy_time, healthy_deadline",
			file, yaml.FormatError(err, false, false))
	}
	return &src, nil
}

// readFiles reads the tree below files/ as path on the host → content, with
// the mode that each file has here.
func readFiles(root string) (map[string][]byte, map[string]string, error) {
	content, modes, total := map[string][]byte{}, map[string]string{}, 0
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			return bad("bundle: %s is a %s; accepted: regular files and folders below files/", name, typeName(d.Type()))
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if total += int(min(info.Size(), bundle.MaxSize+1)); total > bundle.MaxSize {
			return &api.Error{Kind: api.TooLarge, Detail: fmt.Sprintf("bundle: %s and the files before it are more than %d bytes; accepted: at most that in all", name, bundle.MaxSize)}
		}
		p := "/" + filepath.ToSlash(rel)
		modes[p] = "0644"
		if info.Mode()&0o100 != 0 {
			modes[p] = "0755"
		}
		content[p], err = os.ReadFile(name)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, bad("bundle: %s is missing; accepted: the files below files/, each at its path on the host", root)
	}
	return content, modes, err
}

func typeName(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

func (s *source) manifest(content map[string][]byte, modes map[string]string) (bundle.Manifest, error) {
	m := bundle.Manifest{Name: s.Name, HealthyDeadline: bundle.DefaultHealthyDeadline}
	if s.HealthyDeadline != nil {
		if m.HealthyDeadline = *s.HealthyDeadline; m.HealthyDeadline == 0 {
			return m, api.Errorf(api.Invalid, "bundle.yaml: healthy_deadline is 0s; accepted: a duration such as 5m, or nothing for the default")
		}
	}
	m.MinHealthyTime = min(bundle.DefaultMinHealthyTime, m.HealthyDeadline/2)
	if s.MinHealthyTime != nil {
		m.MinHealthyTime = *s.MinHealthyTime
	}
	if s.Check != nil {
		m.Check = &bundle.Command{Run: s.Check.Run, Timeout: s.Check.Timeout}
	}
	if s.Command != nil {
		m.Command = &bundle.Command{Run: s.Command.Run, Timeout: s.Command.Timeout}
	}
	for _, p := range s.Health {
		m.Health = append(m.Health, bundle.Probe(p))
	}
	for p := range s.Files {
		if _, ok := content[p]; !ok {
			return m, bad("bundle: files: %q has an entry, and no content; accepted: paths that are below files/, here %s", p, list(content))
		}
	}
	for p := range content {
		f, err := s.file(p, modes[p])
		if err != nil {
			return m, err
		}
		m.Files = append(m.Files, f)
	}
	slices.SortFunc(m.Files, func(a, b bundle.File) int { return strings.Compare(a.Path, b.Path) })
	return m, nil
}

func (s *source) file(p, mode string) (bundle.File, error) {
	e := s.Files[p]
	f := bundle.File{Path: p, Mode: mode, Owner: e.Owner, Render: e.Render, Units: e.Units}
	if e.Mode != "" {
		f.Mode = string(e.Mode)
	}
	interrupt := e.Interrupt
	if interrupt == "" {
		interrupt = s.DefaultInterrupt
	}
	if interrupt == "" {
		interrupt = string(bundle.InterruptNone)
	}
	if slices.Contains(notCarriedOut, interrupt) {
		return f, bad("bundle: files (%s).interrupt: %q is not carried out by this version; accepted: none, reload, restart, reboot", p, interrupt)
	}
	f.Interrupt = bundle.Interrupt(interrupt)
	units := f.Interrupt == bundle.InterruptReload || f.Interrupt == bundle.InterruptRestart
	if units && len(f.Units) == 0 {
		f.Units = s.Units
	}
	return f, nil
}

func list(content map[string][]byte) string {
	var names []string
	for p := range content {
		names = append(names, path.Clean(p))
	}
	slices.Sort(names)
	if len(names) > 5 {
		names = append(names[:5], "…")
	}
	return strings.Join(names, ", ")
}
