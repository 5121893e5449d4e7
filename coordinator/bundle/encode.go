package bundle

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

const (
	manifestName = "manifest.json"
	filesPrefix  = "files"
)

// Digest is the SHA-256 of a bundle's bytes, in hex: its name everywhere.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Source is where the content of one file comes from. Open is called twice.
type Source interface {
	Open() (io.ReadCloser, error)
}

// Text is a Source in memory.
type Text []byte

// Open reads the text.
func (t Text) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(t)), nil }

// Encode returns a bundle that a coordinator stores, verified by Parse: m with
// the content of each of its files by path.
func Encode(m Manifest, content map[string][]byte) ([]byte, error) {
	sources := make(map[string]Source, len(content))
	for p, text := range content {
		sources[p] = Text(text)
	}
	var buf bytes.Buffer
	if _, err := Write(&buf, MaxSize, m, sources); err != nil {
		return nil, err
	}
	if _, err := Parse(buf.Bytes()); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// Write writes a bundle of at most limit bytes, or a part of one and an error: m with the content of each of
// its files by path. It fills in version, sizes, digests and defaults, sorts
// the files, and returns what it made of the manifest. The bytes are a function
// of m and the content alone.
func Write(w io.Writer, limit int64, m Manifest, content map[string]Source) (Manifest, error) {
	for _, f := range m.Files {
		if _, ok := content[f.Path]; !ok {
			return m, problem("files ("+f.Path+")", "no content", "content for each file")
		}
	}
	for _, p := range slices.Sorted(maps.Keys(content)) {
		if !slices.ContainsFunc(m.Files, func(f File) bool { return f.Path == p }) {
			return m, problem("files ("+p+")", "content without an entry in the manifest", "content for the manifest's files only")
		}
	}
	m = complete(m)
	for i := range m.Files {
		var err error
		if m.Files[i].Size, m.Files[i].SHA256, err = measure(content[m.Files[i].Path]); err != nil {
			return m, err
		}
	}
	if err := m.Validate(); err != nil {
		return m, err
	}
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return m, err
	}
	text = append(text, '\n')
	t := tar.NewWriter(&bounded{w: w, limit: limit})
	if err := member(t, manifestName, "0644", int64(len(text)), Text(text)); err != nil {
		return m, err
	}
	for _, f := range m.Files {
		if err := member(t, filesPrefix+f.Path, f.Mode, f.Size, content[f.Path]); err != nil {
			return m, err
		}
	}
	return m, t.Close()
}

// bounded refuses what goes over its limit, in bytes.
type bounded struct {
	w        io.Writer
	n, limit int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.n += int64(len(p)); b.n > b.limit {
		return 0, tooLarge(b.n, b.limit)
	}
	return b.w.Write(p)
}

func measure(s Source) (size int64, digest string, err error) {
	r, err := s.Open()
	if err != nil {
		return 0, "", err
	}
	defer r.Close()
	sum := sha256.New()
	size, err = io.Copy(sum, r)
	return size, hex.EncodeToString(sum.Sum(nil)), err
}

func member(w *tar.Writer, name, mode string, size int64, s Source) error {
	m, err := strconv.ParseInt(mode, 8, 64)
	if err != nil {
		return err
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: m, Size: size}
	if err := w.WriteHeader(h); err != nil {
		return problem(name, err.Error(), "what fits into a tar")
	}
	r, err := s.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(w, r)
	if err == nil && n != size || errors.Is(err, tar.ErrWriteTooLong) {
		return fmt.Errorf("%s changed while it was read", name)
	}
	return err
}

// complete fills in what a manifest leaves out.
func complete(m Manifest) Manifest {
	m.V = Version
	m.Files = slices.Clone(m.Files)
	slices.SortStableFunc(m.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for i := range m.Files {
		f := &m.Files[i]
		if f.Mode == "" {
			f.Mode = "0644"
		}
		if f.Interrupt == "" {
			f.Interrupt = InterruptNone
		}
	}
	m.Check, m.Command = withTimeout(m.Check), withTimeout(m.Command)
	m.Health = slices.Clone(m.Health)
	for i := range m.Health {
		if m.Health[i].Timeout == 0 {
			m.Health[i].Timeout = DefaultProbeTimeout
		}
	}
	if m.HealthyDeadline == 0 {
		m.HealthyDeadline = DefaultHealthyDeadline
		if m.MinHealthyTime == 0 {
			m.MinHealthyTime = DefaultMinHealthyTime
		}
	}
	return m
}

func withTimeout(c *Command) *Command {
	if c == nil || c.Timeout != 0 {
		return c
	}
	return &Command{Run: c.Run, Timeout: DefaultCommandTimeout}
}

func tooLarge(n, limit int64) *api.Error {
	accepted := "at most " + strconv.FormatInt(limit, 10) + " bytes"
	if limit == MaxSize {
		accepted += "; a larger one goes to a URL, and `lockkeeper bundle upload --url` tells the coordinator"
	}
	e := problem("bundle", strconv.FormatInt(n, 10)+" bytes or more", accepted)
	e.Kind = api.TooLarge
	return e
}
