package bundle

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Bundle is a verified bundle in memory.
type Bundle struct {
	Manifest Manifest
	Digest   string // of the whole file
	Size     int64  // of the whole file, in bytes
	content  map[string][]byte
	raw      []byte
}

// Bytes is the whole file, as it was verified. It must not be changed.
func (b *Bundle) Bytes() []byte { return b.raw }

// Content is the content of the file with that path in the manifest, nil for
// any other. It must not be changed.
func (b *Bundle) Content(path string) []byte { return b.content[path] }

// Greatest is the greatest interrupt that a file asks for.
func (b *Bundle) Greatest() Interrupt { return b.Manifest.Greatest() }

// APIFiles is the list of files as the API shows it.
func (b *Bundle) APIFiles() []api.BundleFile {
	files := make([]api.BundleFile, 0, len(b.Manifest.Files))
	for _, f := range b.Manifest.Files {
		files = append(files, api.BundleFile{Path: f.Path, Mode: f.Mode, Size: f.Size, Interrupt: string(f.Interrupt)})
	}
	return files
}

// Open reads a bundle to its end and verifies it. What is wrong comes back as
// an *api.Error of kind invalid or too_large; errors of the reader as they are.
func Open(r io.Reader) (*Bundle, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	return Parse(b)
}

// Parse verifies the bytes of a bundle, as Open does.
func Parse(b []byte) (*Bundle, error) {
	if len(b) > MaxSize {
		return nil, tooLarge(0)
	}
	rest := bytes.NewReader(b)
	t := tar.NewReader(rest)
	text, h, err := next(t)
	if err != nil {
		return nil, err
	}
	if h == nil || h.Name != manifestName {
		return nil, problem("bundle", "does not begin with "+manifestName, "a file that `lockkeeper bundle create` wrote")
	}
	out := &Bundle{Digest: Digest(b), Size: int64(len(b)), raw: b, content: map[string][]byte{}}
	if err := decodeManifest(text, &out.Manifest); err != nil {
		return nil, err
	}
	for _, f := range out.Manifest.Files {
		body, h, err := next(t)
		if err != nil {
			return nil, err
		}
		if err := matches(f, h, body); err != nil {
			return nil, err
		}
		out.content[f.Path] = body
	}
	switch _, h, err := next(t); {
	case err != nil:
		return nil, err
	case h != nil:
		return nil, problem(strconv.Quote(h.Name), "a member that the manifest does not name, or names before", "each file of the manifest once, and nothing more")
	}
	if n := rest.Len(); n > 0 {
		return nil, problem("bundle", strconv.Itoa(n)+" bytes behind the end of the tar", "nothing behind it")
	}
	// The reader takes a tar that just stops for one that ended.
	if !bytes.HasSuffix(b, make([]byte, 1024)) {
		return nil, damaged(io.ErrUnexpectedEOF)
	}
	return out, nil
}

// next returns the next member; a nil header is the end.
func next(t *tar.Reader) ([]byte, *tar.Header, error) {
	h, err := t.Next()
	if errors.Is(err, io.EOF) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, damaged(err)
	}
	where := strconv.Quote(h.Name)
	if h.Typeflag != tar.TypeReg {
		return nil, nil, problem(where, kindName(h.Typeflag), "regular files only")
	}
	for k := range h.PAXRecords {
		if k != "path" {
			return nil, nil, problem(where, "tar attribute "+strconv.Quote(k), "no attributes: mode and owner are in the manifest")
		}
	}
	if h.Name != manifestName {
		p, ok := strings.CutPrefix(h.Name, filesPrefix+"/")
		if !ok || ValidPath("/"+p) != nil {
			return nil, nil, problem(where, "a member with that name", "manifest.json, then files/<path> with a path without . or .. or // in it")
		}
	}
	if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || h.ModTime.Unix() != 0 {
		return nil, nil, problem(where, "an owner or a time in the tar", "zero: the owner is in the manifest")
	}
	if h.Size > MaxSize {
		return nil, nil, tooLarge(h.Size)
	}
	body, err := io.ReadAll(io.LimitReader(t, MaxSize+1))
	if err != nil {
		return nil, nil, damaged(err)
	}
	return body, h, nil
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

func decodeManifest(text []byte, m *Manifest) error {
	const accepted = "v, name, files (path, mode, owner, size, sha256, interrupt, units, render), check, command (run, timeout), health (command, http, tcp, timeout), min_healthy_time, healthy_deadline"
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return problem(manifestName, err.Error(), accepted)
	}
	if _, err := d.Token(); err != io.EOF {
		return problem(manifestName, "text behind the manifest", "one JSON object")
	}
	return m.Validate()
}

// matches compares a member with its entry in the manifest.
func matches(f File, h *tar.Header, body []byte) error {
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
	if int64(len(body)) != f.Size || Digest(body) != f.SHA256 {
		return problem(where, "content that does not have the manifest's size and digest", "the content that the manifest names")
	}
	return nil
}
