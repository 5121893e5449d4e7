package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// bundleData is the page of one bundle.
type bundleData struct {
	Bundle                    api.Bundle
	Manifest                  bundle.Manifest
	HealthyFor, HealthyWithin string
}

func (s *server) showBundle(w http.ResponseWriter, r *http.Request) {
	b, m, err := s.bundleOf(r.Context(), r.PathValue("digest"))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	f, err := s.newFrame(r.Context(), "bundles", "")
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	f.Data = bundleData{b, m, spanText(time.Duration(m.MinHealthyTime).String()), spanText(time.Duration(m.HealthyDeadline).String())}
	s.render(w, r, http.StatusOK, "bundle", view{Frame: f, Title: b.Name})
}

// bundleOf reads a bundle and its manifest, which the service has verified.
func (s *server) bundleOf(ctx context.Context, digest string) (b api.Bundle, m bundle.Manifest, err error) {
	if b, err = s.backend.Bundle(ctx, digest); err != nil {
		return b, m, err
	}
	text, err := json.Marshal(b.Manifest)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return b, m, api.Errorf(api.Internal, "the manifest of %s cannot be read: %v", digest, err)
	}
	return b, m, nil
}

// diffData compares two bundles.
type diffData struct {
	Bundles              []api.Bundle
	FromDigest, ToDigest string
	From, To             api.Bundle
	Compared             bool
	Sentence             string
	Files                []fileDiff
	Rest                 []diffLine // of the manifest but its files
}

// fileDiff is one file that is not the same in both.
type fileDiff struct {
	Path  string
	Look  look
	About string // what else changed: mode, owner, what it needs
	Lines []diffLine
	Note  string // why there are no lines, or not all
}

// diffLine is a line of a unified diff: "+", "-", "@" or " ".
type diffLine struct{ Kind, Text string }

const (
	diffLines = 2000      // of one file that are shown
	diffBytes = 256 << 10 // of a file that is compared line by line
)

func (s *server) showDiff(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	f, err := s.newFrame(ctx, "bundles", "")
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	d := diffData{FromDigest: r.URL.Query().Get("from"), ToDigest: r.URL.Query().Get("to")}
	v := view{Title: "Compare bundles"}
	status := http.StatusOK
	if d.Bundles, err = s.backend.Bundles(ctx); err == nil {
		d.choose()
		if d.FromDigest != "" && d.ToDigest != "" {
			err = s.compare(ctx, &d)
		}
	}
	if err != nil {
		v.Problem = newProblem(w, "Not compared", err)
		status = v.Problem.Kind.Status()
	}
	f.Data = d
	v.Frame = f
	s.render(w, r, status, "bundle-diff", v)
}

// choose fills in what was not said: the newest bundle, and the one before it of
// the same name.
func (d *diffData) choose() {
	if d.ToDigest == "" && len(d.Bundles) > 0 {
		d.ToDigest = d.Bundles[0].Digest
	}
	if d.FromDigest != "" {
		return
	}
	name, found := "", false
	for _, b := range d.Bundles { // newest first
		switch {
		case b.Digest == d.ToDigest:
			name, found = b.Name, true
		case found && b.Name == name:
			d.FromDigest = b.Digest
			return
		}
	}
	for _, b := range d.Bundles {
		if b.Digest != d.ToDigest {
			d.FromDigest = b.Digest
			return
		}
	}
}

func (s *server) compare(ctx context.Context, d *diffData) error {
	from, fromM, err := s.bundleOf(ctx, d.FromDigest)
	if err != nil {
		return err
	}
	to, toM, err := s.bundleOf(ctx, d.ToDigest)
	if err != nil {
		return err
	}
	d.From, d.To, d.Compared = from, to, true
	fromFiles, toFiles := s.contents(ctx, from), s.contents(ctx, to)
	was := map[string]bundle.File{}
	for _, f := range fromM.Files {
		was[f.Path] = f
	}
	added, changed, removed := 0, 0, 0
	for _, f := range toM.Files { // in the order of their paths
		old, there := was[f.Path]
		delete(was, f.Path)
		if there && sameFile(old, f) {
			continue
		}
		out := fileDiff{Path: f.Path}
		if there {
			changed++
			out.Look, out.About = look{"is-busy", "drifted", "Changed"}, aboutFile(old, f)
		} else {
			added++
			out.Look, out.About = look{"is-ok", "plus", "Added"}, "mode "+f.Mode+", "+byteSize(f.Size)
		}
		if !there || old.SHA256 != f.SHA256 {
			out.compare(fromFiles, toFiles, there, true)
		}
		d.Files = append(d.Files, out)
	}
	for _, f := range fromM.Files {
		if _, gone := was[f.Path]; gone {
			removed++
			out := fileDiff{Path: f.Path, Look: look{"is-bad", "aborted", "Not in it any more"}}
			out.compare(fromFiles, toFiles, true, false)
			d.Files = append(d.Files, out)
		}
	}
	d.Sentence = fmt.Sprintf("%d changed, %d added, %d removed", changed, added, removed)
	d.Rest, _ = linesOf(diff.Diff("from", restOf(fromM), "to", restOf(toM)))
	return nil
}

func sameFile(a, b bundle.File) bool {
	return a.SHA256 == b.SHA256 && a.Mode == b.Mode && a.Owner == b.Owner && a.Interrupt == b.Interrupt && a.Render == b.Render &&
		strings.Join(a.Units, " ") == strings.Join(b.Units, " ")
}

// aboutFile says what changed of a file beside its content.
func aboutFile(a, b bundle.File) string {
	var out []string
	add := func(what, from, to string) {
		if from != to {
			out = append(out, fmt.Sprintf("%s %q to %q", what, from, to))
		}
	}
	add("mode", a.Mode, b.Mode)
	add("owner", a.Owner, b.Owner)
	add("needs", string(a.Interrupt), string(b.Interrupt))
	add("units", strings.Join(a.Units, " "), strings.Join(b.Units, " "))
	if a.Render != b.Render {
		out = append(out, fmt.Sprintf("rendered: %v", b.Render))
	}
	return strings.Join(out, ", ")
}

// contents opens a bundle that the store has; the files of one that lies
// elsewhere are known by their digests only.
func (s *server) contents(ctx context.Context, b api.Bundle) *bundle.Bundle {
	if b.URL != "" {
		return nil
	}
	body, _, err := s.backend.OpenBundle(ctx, b.Digest)
	if err != nil {
		return nil
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		return nil
	}
	open, err := bundle.Parse(text)
	if err != nil {
		return nil
	}
	return open
}

// compare shows the lines that are not the same, where both are text.
func (d *fileDiff) compare(from, to *bundle.Bundle, inFrom, inTo bool) {
	a, okA := textOf(from, d.Path, inFrom)
	b, okB := textOf(to, d.Path, inTo)
	switch {
	case inFrom && from == nil || inTo && to == nil:
		d.Note = "A bundle that lies elsewhere: the digests of the file are known, its text is not."
	case !okA || !okB:
		d.Note = "Not text, or too long to compare line by line."
	default:
		var cut bool
		if d.Lines, cut = linesOf(diff.Diff("from", a, "to", b)); cut {
			d.Note = fmt.Sprintf("More lines differ than the %d shown.", diffLines)
		}
	}
}

func textOf(b *bundle.Bundle, path string, there bool) ([]byte, bool) {
	if !there {
		return nil, true
	}
	if b == nil {
		return nil, false
	}
	text, err := b.Content(path)
	if err != nil || len(text) > diffBytes || !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return nil, false
	}
	return text, true
}

// linesOf reads a unified diff, behind its three lines of head.
func linesOf(text []byte) (lines []diffLine, cut bool) {
	if len(text) == 0 {
		return nil, false
	}
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if i < 3 || line == "" {
			continue
		}
		if len(lines) == diffLines {
			return lines, true
		}
		if line[0] == '@' {
			lines = append(lines, diffLine{"@", line})
		} else {
			lines = append(lines, diffLine{line[:1], line[1:]})
		}
	}
	return lines, false
}

// restOf is the manifest without its files, as text.
func restOf(m bundle.Manifest) []byte {
	m.Files = nil
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil // it was read from JSON
	}
	return append(text, '\n')
}
