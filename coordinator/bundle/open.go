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
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Bundle is a verified bundle, in memory or in a file.
type Bundle struct {
	Manifest Manifest
	Digest   string // of the whole file
	Size     int64  // of the whole file, in bytes
	raw      []byte // nil for one in a file
	file     string
	at       map[string]int64 // where each file's content begins
}

// Open reads the content of the file with that path in the manifest. What is
// read from a file may have changed since it was verified: compare it with the
// manifest's digest before it is used.
func (b *Bundle) Open(path string) (io.ReadCloser, error) {
	i := slices.IndexFunc(b.Manifest.Files, func(f File) bool { return f.Path == path })
	if i < 0 {
		return nil, fmt.Errorf("bundle %s: no file %q", b.Digest, path)
	}
	at, size := b.at[path], b.Manifest.Files[i].Size
	if b.raw != nil {
		return io.NopCloser(io.NewSectionReader(bytes.NewReader(b.raw), at, size)), nil
	}
	f, err := os.Open(b.file)
	if err != nil {
		return nil, err
	}
	return section{io.NewSectionReader(f, at, size), f}, nil
}

type section struct {
	io.Reader
	io.Closer
}

// Content is what Open reads, verified again.
func (b *Bundle) Content(path string) ([]byte, error) {
	r, err := b.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	for _, f := range b.Manifest.Files {
		if f.Path == path && Digest(body) != f.SHA256 {
			return nil, fmt.Errorf("bundle %s: the content of %s has changed since it was verified", b.Digest, path)
		}
	}
	return body, nil
}

// Greatest is the greatest interrupt that a file asks for.
func (b *Bundle) Greatest() Interrupt { return b.Manifest.Greatest() }

// APIFiles is the list of files as the API shows it.
func (m *Manifest) APIFiles() []api.BundleFile {
	files := make([]api.BundleFile, 0, len(m.Files))
	for _, f := range m.Files {
		files = append(files, api.BundleFile{Path: f.Path, Mode: f.Mode, Size: f.Size, Interrupt: string(f.Interrupt)})
	}
	return files
}

// Parse verifies the bytes of a bundle that a coordinator may store. What is
// wrong comes back as an *api.Error of kind invalid or too_large.
func Parse(b []byte) (*Bundle, error) {
	if len(b) > MaxSize {
		return nil, tooLarge(int64(len(b)), MaxSize)
	}
	out := &Bundle{raw: b}
	return out, out.verify(bytes.NewReader(b), int64(len(b)))
}

// OpenFile verifies the bundle in a file, of at most limit bytes, as Parse
// does; errors of the file come back as they are.
func OpenFile(name string, limit int64) (*Bundle, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, tooLarge(info.Size(), limit)
	}
	out := &Bundle{file: name}
	return out, out.verify(f, info.Size())
}

// verify reads all of a bundle of that size and fills b in.
func (b *Bundle) verify(from io.Reader, size int64) error {
	sum := sha256.New()
	in := &counted{r: io.TeeReader(io.LimitReader(from, size), sum)}
	t := tar.NewReader(in)
	h, err := next(t)
	if err != nil {
		return in.blame(err)
	}
	if h == nil || h.Name != manifestName {
		return problem("bundle", "does not begin with "+manifestName, "a file that `lockkeeper bundle create` wrote")
	}
	if h.Size > MaxSize {
		return problem(manifestName, strconv.FormatInt(h.Size, 10)+" bytes", "at most "+strconv.Itoa(MaxSize))
	}
	text, err := io.ReadAll(t)
	if err != nil {
		return in.blame(damaged(err))
	}
	m, err := ParseManifest(text)
	if err != nil {
		return err
	}
	b.Manifest, b.at = m, make(map[string]int64, len(m.Files))
	for _, f := range m.Files {
		h, err := next(t)
		if err != nil {
			return in.blame(err)
		}
		b.at[f.Path] = in.n
		if err := matches(f, h, t); err != nil {
			return in.blame(err)
		}
	}
	switch h, err := next(t); {
	case err != nil:
		return in.blame(err)
	case h != nil:
		return problem(strconv.Quote(h.Name), "a member that the manifest does not name, or names before", "each file of the manifest once, and nothing more")
	}
	// The reader takes a tar that just stops for one that ended.
	if !in.zeros(2 * blockSize) {
		return damaged(io.ErrUnexpectedEOF)
	}
	if n := size - in.n; n > 0 {
		return problem("bundle", strconv.FormatInt(n, 10)+" bytes behind the end of the tar", "nothing behind it")
	}
	b.Digest, b.Size = hex.EncodeToString(sum.Sum(nil)), size
	return nil
}

const blockSize = 512 // of a tar

// counted counts what was read, and remembers the two last blocks of it and an
// error that is not the content's fault.
type counted struct {
	r    io.Reader
	n    int64
	last []byte
	err  error
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.last = append(c.last, p[max(0, n-2*blockSize):n]...)
	if over := len(c.last) - 2*blockSize; over > 0 {
		c.last = append(c.last[:0], c.last[over:]...)
	}
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// zeros reports whether the last n bytes that were read are zeros.
func (c *counted) zeros(n int) bool {
	return len(c.last) >= n && bytes.Count(c.last[len(c.last)-n:], []byte{0}) == n
}

// blame is the reader's own error if there was one, else err.
func (c *counted) blame(err error) error {
	if c.err != nil {
		return fmt.Errorf("read bundle: %w", c.err)
	}
	return err
}

// next goes to the next member; a nil header is the end.
func next(t *tar.Reader) (*tar.Header, error) {
	h, err := t.Next()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, damaged(err)
	}
	where := strconv.Quote(h.Name)
	if h.Typeflag != tar.TypeReg {
		return nil, problem(where, kindName(h.Typeflag), "regular files only")
	}
	for k := range h.PAXRecords {
		if k != "path" {
			return nil, problem(where, "tar attribute "+strconv.Quote(k), "no attributes: mode and owner are in the manifest")
		}
	}
	if h.Name != manifestName {
		p, ok := strings.CutPrefix(h.Name, filesPrefix+"/")
		if !ok || ValidPath("/"+p) != nil {
			return nil, problem(where, "a member with that name", "manifest.json, then files/<path> with a path without . or .. or // in it")
		}
	}
	if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || h.ModTime.Unix() != 0 {
		return nil, problem(where, "an owner or a time in the tar", "zero: the owner is in the manifest")
	}
	return h, nil
}

func damaged(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return problem("bundle", "cut off", "the whole file")
	}
	return problem("bundle", "not a tar ("+err.Error()+")", "a file that `lockkeeper bundle create` wrote")
}

func kindName(flag byte) string {
	switch flag {
	case tar.TypeSymlink:
		return "a symbolic link"
	case tar.TypeLink:
		return "a hard link"
	case tar.TypeDir:
		return "a folder"
	case tar.TypeChar, tar.TypeBlock:
		return "a device"
	case tar.TypeFifo:
		return "a named pipe"
	}
	return "tar type " + strconv.QuoteRune(rune(flag))
}

// ParseManifest reads and validates the text of a manifest.
func ParseManifest(text []byte) (Manifest, error) {
	const accepted = "v, name, version, requires (arch, labels, os_release), files (path, mode, owner, size, sha256, interrupt, units, render), check, command (run, timeout), health (command, http, tcp, unit, timeout), min_healthy_time, healthy_deadline"
	var m Manifest
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, problem(manifestName, err.Error(), accepted)
	}
	if _, err := d.Token(); err != io.EOF {
		return m, problem(manifestName, "text behind the manifest", "one JSON object")
	}
	return m, m.Validate()
}

// matches compares a member with its entry in the manifest.
func matches(f File, h *tar.Header, content io.Reader) error {
	where := "files (" + f.Path + ")"
	if h == nil {
		return problem(where, "its content is missing", "the content of each file of the manifest")
	}
	if h.Name != filesPrefix+f.Path {
		return problem(strconv.Quote(h.Name), "where "+strconv.Quote(filesPrefix+f.Path)+" should follow", "the manifest's files, each once, in its order")
	}
	if mode, err := strconv.ParseInt(f.Mode, 8, 64); err != nil || h.Mode != mode {
		return problem(where, fmt.Sprintf("mode %04o in the tar, %s in the manifest", h.Mode, f.Mode), "the same in both")
	}
	sum := sha256.New()
	if h.Size == f.Size {
		if _, err := io.Copy(sum, content); err != nil {
			return damaged(err)
		}
	}
	if h.Size != f.Size || hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		return problem(where, "content that does not have the manifest's size and digest", "the content that the manifest names")
	}
	return nil
}
