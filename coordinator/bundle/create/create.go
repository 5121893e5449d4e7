// Package create makes a bundle from a source folder:
//
//	DIR/bundle.yaml    what the bundle does
//	DIR/files/etc/…    the content; the path below files/ is the path on the host
package create

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
	"github.com/lockkeeper/lockkeeper/internal/strict"
)

// source is bundle.yaml.
type source struct {
	Name             string           `yaml:"name"`
	Version          text             `yaml:"version"`
	Requires         *requires        `yaml:"requires"`
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

// sourceForm is how it is written; a command may hold a secret.
var sourceForm = strict.Form{Tag: "yaml", Hide: true}

// entry says how one file differs from the defaults.
type entry struct {
	Mode      text     `yaml:"mode"`
	Owner     string   `yaml:"owner"`
	Interrupt string   `yaml:"interrupt"`
	Units     []string `yaml:"units"`
	Render    bool     `yaml:"render"`
}

// text is a scalar as it is written, quoted or not: YAML would make numbers of
// 0644 and 1.10.
type text string

func (m *text) UnmarshalYAML(b []byte) error {
	t := strings.TrimSpace(string(b))
	if strings.ContainsAny(t, "\n:[]{}#&*!|>") && !strings.HasPrefix(t, `"`) && !strings.HasPrefix(t, "'") {
		return fmt.Errorf("%q: want one plain or quoted text", t)
	}
	*m = text(strings.Trim(t, `"'`))
	return nil
}

// texts is one text or a list of them.
type texts []string

func (l *texts) UnmarshalYAML(b []byte) error {
	var list []text
	if err := yaml.Unmarshal(b, &list); err != nil {
		var one text
		if err := yaml.Unmarshal(b, &one); err != nil {
			return err
		}
		list = []text{one}
	}
	for _, t := range list {
		*l = append(*l, string(t))
	}
	return nil
}

type requires struct {
	Arch      texts            `yaml:"arch"`
	Labels    map[string]texts `yaml:"labels"`
	OSRelease map[string]texts `yaml:"os_release"`
}

func (r *requires) manifest() *bundle.Requires {
	if r == nil {
		return nil
	}
	plain := func(m map[string]texts) map[string][]string {
		if len(m) == 0 {
			return nil
		}
		out := make(map[string][]string, len(m))
		for k, v := range m {
			out[k] = v
		}
		return out
	}
	return &bundle.Requires{Arch: r.Arch, Labels: plain(r.Labels), OSRelease: plain(r.OSRelease)}
}

type command struct {
	Run     string          `yaml:"run"`
	Timeout bundle.Duration `yaml:"timeout"`
}

type probe struct {
	Command string          `yaml:"command"`
	HTTP    string          `yaml:"http"`
	TCP     string          `yaml:"tcp"`
	Unit    string          `yaml:"unit"`
	Timeout bundle.Duration `yaml:"timeout"`
}

// file is a bundle.Source on disk.
type file string

func (f file) Open() (io.ReadCloser, error) { return os.Open(string(f)) }

// Build reads the source folder dir and writes a bundle of at most limit bytes
// to w. What is wrong in the source comes back as an *api.Error that says what,
// where and what is accepted. The bundle is a function of the files' paths and
// content, of whether their owner may execute them, and of bundle.yaml.
func Build(dir string, w io.Writer, limit int64) (bundle.Manifest, error) {
	src, err := readSource(filepath.Join(dir, "bundle.yaml"))
	if err != nil {
		return bundle.Manifest{}, err
	}
	content, modes, err := readFiles(filepath.Join(dir, "files"), limit)
	if err != nil {
		return bundle.Manifest{}, err
	}
	m, err := src.manifest(content, modes)
	if err != nil {
		return bundle.Manifest{}, err
	}
	return bundle.Write(w, limit, m, content)
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
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	// Without the neighbouring lines: they may hold secrets.
	plain := func(err error) error {
		return bad("bundle: %s: %s; accepted: %s", file, yaml.FormatError(err, false, false), strings.Join(sourceForm.Members(reflect.TypeFor[source]()), ", "))
	}
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, plain(err)
	}
	if len(tree.Docs) > 1 {
		return nil, bad("bundle: %s has several documents, which a line \"---\" separates; accepted: one", file)
	}
	for _, doc := range tree.Docs {
		if err := sourceForm.Check(reflect.TypeFor[source](), doc.Body, ""); err != nil {
			return nil, bad("bundle: %s:%v", file, err)
		}
	}
	var src source
	if err := yaml.UnmarshalWithOptions(text, &src, yaml.Strict()); err != nil && !errors.Is(err, io.EOF) {
		return nil, plain(err)
	}
	return &src, nil
}

// readFiles reads the tree below files/ as path on the host → content, with
// the mode that each file has here.
func readFiles(root string, limit int64) (map[string]bundle.Source, map[string]string, error) {
	content, modes, total := map[string]bundle.Source{}, map[string]string{}, int64(0)
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
		if total += min(info.Size(), limit+1); total > limit {
			return &api.Error{Kind: api.TooLarge, Detail: fmt.Sprintf("bundle: %s and the files before it are more than %d bytes; accepted: at most that in all%s", name, limit, elsewhere(limit))}
		}
		p := "/" + filepath.ToSlash(rel)
		modes[p] = "0644"
		if info.Mode()&0o100 != 0 {
			modes[p] = "0755"
		}
		content[p] = file(name)
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, bad("bundle: %s is missing; accepted: the files below files/, each at its path on the host", root)
	}
	return content, modes, err
}

// elsewhere says what becomes of a bundle that no coordinator stores.
func elsewhere(limit int64) string {
	if limit > bundle.MaxSize {
		return ""
	}
	return "; with --output up to " + strconv.Itoa(bundle.MaxLinked) + ", for a URL"
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

func (s *source) manifest(content map[string]bundle.Source, modes map[string]string) (bundle.Manifest, error) {
	m := bundle.Manifest{Name: s.Name, Version: string(s.Version), Requires: s.Requires.manifest(), HealthyDeadline: bundle.DefaultHealthyDeadline}
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
	for _, p := range slices.Sorted(maps.Keys(content)) {
		m.Files = append(m.Files, s.file(p, modes[p]))
	}
	return m, nil
}

func (s *source) file(p, mode string) bundle.File {
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
	f.Interrupt = bundle.Interrupt(interrupt)
	if f.Interrupt.OfUnits() && len(f.Units) == 0 {
		f.Units = s.Units
	}
	return f
}

func list(content map[string]bundle.Source) string {
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
