package bundle

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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

// Encode writes a bundle: m with the content of each of its files by path. It
// fills in version, sizes, digests and defaults, sorts the files, and returns
// the finished bytes, verified by Open.
func Encode(m Manifest, content map[string][]byte) ([]byte, error) {
	m = complete(m, content)
	for _, f := range m.Files {
		if _, ok := content[f.Path]; !ok {
			return nil, problem("files ("+f.Path+")", "no content", "content for each file")
		}
	}
	for p := range content {
		if !slices.ContainsFunc(m.Files, func(f File) bool { return f.Path == p }) {
			return nil, problem("files ("+p+")", "content without an entry in the manifest", "content for the manifest's files only")
		}
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := member(w, manifestName, 0o644, append(text, '\n')); err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		mode, err := strconv.ParseInt(f.Mode, 8, 64)
		if err != nil {
			return nil, err
		}
		if err := member(w, filesPrefix+f.Path, mode, content[f.Path]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if buf.Len() > MaxSize {
		return nil, tooLarge(int64(buf.Len()))
	}
	if _, err := Parse(buf.Bytes()); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func member(w *tar.Writer, name string, mode int64, body []byte) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(body))}
	if err := w.WriteHeader(h); err != nil {
		return problem(name, err.Error(), "what fits into a tar")
	}
	_, err := w.Write(body)
	return err
}

func complete(m Manifest, content map[string][]byte) Manifest {
	m.V = Version
	m.Files = slices.Clone(m.Files)
	slices.SortStableFunc(m.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for i := range m.Files {
		f := &m.Files[i]
		f.Size = int64(len(content[f.Path]))
		f.SHA256 = Digest(content[f.Path])
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

func tooLarge(n int64) *api.Error {
	e := problem("bundle", "more than "+strconv.Itoa(MaxSize)+" bytes", "at most "+strconv.Itoa(MaxSize)+" bytes; put larger content elsewhere and let the command fetch it by digest")
	if n > 0 {
		e = problem("bundle", strconv.FormatInt(n, 10)+" bytes", "at most "+strconv.Itoa(MaxSize)+" bytes; put larger content elsewhere and let the command fetch it by digest")
	}
	e.Kind = api.TooLarge
	return e
}
