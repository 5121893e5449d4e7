package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// fetchFor is how long a bundle's URL may bring nothing, whatever is tried.
const fetchFor = 15 * time.Minute

// Downloader fetches what lies at a URL into a file, and goes on where an
// earlier call ended. What asking again does not mend is an *api.Error; resumed
// says that some of the file came from an earlier call. *client.Downloader is one.
type Downloader interface {
	Accepts(url string) error
	Fetch(ctx context.Context, url string, size int64, file string) (resumed bool, err error)
}

// Names of what is kept of a bundle in the state folder, by its digest: the
// file, what of it has come so far, and its signatures.
const (
	wholeBundle = ".tar"
	partBundle  = ".part"
	signatures  = ".json"
)

func bundleFile(digest, kind string) string {
	return filepath.Join("bundles", filepath.Base(digest)+kind)
}

// bundle returns a verified bundle: the kept one, else the coordinator's or the
// one at its URL, which is kept then, so that nobody is needed behind the last
// gate. What is fetched must be trusted.
func (a *Agent) bundle(ctx context.Context, digest string) (*bundle.Bundle, error) {
	if b, ok := a.kept(digest); ok {
		return b, nil
	}
	b, err := a.cfg.Coordinator.Bundle(ctx, digest)
	if err != nil {
		return nil, err
	}
	if err := a.trust(digest, b.Signatures); err != nil {
		return nil, err
	}
	return a.fetch(ctx, digest, &b)
}

// trusted returns a bundle that somebody has signed whom this host trusts, if
// it asks for that: by what the coordinator knows of it now, or, where local, by
// what was kept when it was fetched.
func (a *Agent) trusted(ctx context.Context, digest string, local bool) (*bundle.Bundle, error) {
	if a.cfg.Trust != nil {
		signed, err := a.signatures(digest)
		if err != nil {
			return nil, err
		}
		err = a.trust(digest, signed)
		if err != nil && !local {
			// It may have been signed since.
			b, asked := a.cfg.Coordinator.Bundle(ctx, digest)
			if asked != nil {
				return nil, asked
			}
			err = a.trust(digest, b.Signatures)
		}
		if err != nil {
			return nil, err
		}
	}
	return a.bundle(ctx, digest)
}

// trust verifies signatures, and keeps what was found good.
func (a *Agent) trust(digest string, signed []string) error {
	if a.cfg.Trust == nil {
		return nil
	}
	signer, err := a.cfg.Trust.Verify(digest, signed, time.Now())
	if err != nil {
		return refuse("signature", "the bundle is %w", err)
	}
	text, err := json.Marshal(signed)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(a.dir.path(bundleFile(digest, signatures))); err == nil && string(old) == string(text) {
		return nil
	}
	a.log.Info("bundle trusted", "bundle", digest, "signer", signer)
	return a.dir.write(bundleFile(digest, signatures), text)
}

// signatures are those kept with a bundle.
func (a *Agent) signatures(digest string) (signed []string, err error) {
	text, err := os.ReadFile(a.dir.path(bundleFile(digest, signatures)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(text, &signed) != nil {
		return nil, nil // as good as none: they are asked for again
	}
	return signed, nil
}

// opened is a bundle that was verified, as long as its file stays what it was.
type opened struct {
	b    *bundle.Bundle
	info os.FileInfo
}

// kept is the bundle in the state folder. Its content is verified once for each
// file, and again whenever some of it is written somewhere.
func (a *Agent) kept(digest string) (*bundle.Bundle, bool) {
	file := a.dir.path(bundleFile(digest, wholeBundle))
	info, err := os.Stat(file)
	if err != nil {
		return nil, false
	}
	if o := a.opened; o.b != nil && o.b.Digest == digest && os.SameFile(o.info, info) && o.info.Size() == info.Size() && o.info.ModTime().Equal(info.ModTime()) {
		return o.b, true
	}
	b, err := bundle.OpenFile(file, bundle.MaxLinked)
	if err != nil || b.Digest != digest {
		return nil, false
	}
	a.opened = opened{b, info}
	return b, true
}

// fetch fetches a bundle, verifies it and keeps it.
func (a *Agent) fetch(ctx context.Context, digest string, known *api.Bundle) (*bundle.Bundle, error) {
	if err := a.acceptable(known); err != nil {
		return nil, err
	}
	a.dropParts(digest)
	part := a.dir.path(bundleFile(digest, partBundle))
	resumed := false
	var err error
	if known.URL != "" {
		resumed, err = a.download(ctx, known, part)
	} else {
		err = a.receive(ctx, digest, part)
	}
	if err != nil {
		return nil, err
	}
	b, err := bundle.OpenFile(part, bundle.MaxLinked)
	var refused *api.Error
	switch {
	case err == nil && b.Digest == digest:
		if err := os.Rename(part, a.dir.path(bundleFile(digest, wholeBundle))); err != nil {
			return nil, err
		}
		if err := syncDir(a.dir.path("bundles")); err != nil {
			return nil, err
		}
		b, ok := a.kept(digest)
		if !ok {
			return nil, fmt.Errorf("bundle %s: what was just written cannot be read", digest)
		}
		return b, nil
	case err != nil && !errors.As(err, &refused):
		return nil, err // the disk's
	}
	if err := os.Remove(part); err != nil {
		return nil, err
	}
	if resumed {
		return nil, fmt.Errorf("bundle %s: what came in several parts is not the bundle: once more from the beginning", digest)
	}
	if err == nil {
		err = api.Errorf(api.Invalid, "bundle: %s came as %s; accepted: the bytes with that digest", digest, b.Digest)
	}
	return nil, err
}

// acceptable refuses a bundle for what is said of it, before it is fetched.
func (a *Agent) acceptable(b *api.Bundle) error {
	if b.Size > a.cfg.MaxBundle {
		return api.Errorf(api.TooLarge, "bundle: %d bytes; accepted: at most %d on this host", b.Size, a.cfg.MaxBundle)
	}
	if b.URL != "" {
		if a.cfg.Downloader == nil {
			return api.Errorf(api.Invalid, "bundle: it lies at %s; accepted: bundles that the coordinator stores, on this host", b.URL)
		}
		if err := a.cfg.Downloader.Accepts(b.URL); err != nil {
			return err
		}
	}
	return roomIn(a.dir.dir, b.Size, 2)
}

// receive writes the coordinator's own copy.
func (a *Agent) receive(ctx context.Context, digest, part string) error {
	r, _, err := a.cfg.Coordinator.OpenBundle(ctx, digest)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(f, io.LimitReader(r, bundle.MaxSize+1))
	if err != nil {
		return err
	}
	if n > bundle.MaxSize {
		return api.Errorf(api.TooLarge, "bundle: the coordinator sends more than it may store; accepted: at most %d bytes", bundle.MaxSize)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// fetching is a download that has not succeeded yet.
type fetching struct {
	digest string
	have   int64         // bytes that have come
	since  time.Duration // when the last of them came, by the host's clock
}

// download fetches from the bundle's URL. It is for good that nothing came from
// there for fetchFor.
func (a *Agent) download(ctx context.Context, known *api.Bundle, part string) (resumed bool, err error) {
	a.setMessage(fmt.Sprintf("fetching the bundle of %d bytes from %s", known.Size, known.URL))
	resumed, err = a.cfg.Downloader.Fetch(ctx, known.URL, known.Size, part)
	if err == nil {
		a.fetching = fetching{}
		return resumed, nil
	}
	now, have := a.cfg.Host.Clock(), int64(0)
	if info, err := os.Stat(part); err == nil {
		have = info.Size()
	}
	if f := &a.fetching; f.digest != known.Digest || f.have < have {
		*f = fetching{known.Digest, have, now}
	}
	if disk(err, "") == "" && now-a.fetching.since >= fetchFor {
		a.fetching = fetching{}
		return resumed, refuse("download", "for %s nothing has come of the bundle at its URL: %w", fetchFor, err)
	}
	return resumed, err
}

// dropParts removes what was begun and is of other bundles.
func (a *Agent) dropParts(digest string) {
	files, _ := filepath.Glob(a.dir.path("bundles", "*"+partBundle))
	for _, f := range files {
		if filepath.Base(f) != digest+partBundle {
			_ = os.Remove(f)
		}
	}
}

// drop removes a bundle that was refused.
func (a *Agent) drop(digest string) {
	s := &a.state
	if digest == s.Applied || s.Job != nil && s.Job.Bundle == digest || s.Undo != nil && s.Undo.Before == digest {
		return
	}
	for _, kind := range []string{wholeBundle, partBundle, signatures} {
		_ = os.Remove(a.dir.path(bundleFile(digest, kind)))
	}
}

// tidyBundles removes all bundles but the one in place, which has its health
// checks.
func (a *Agent) tidyBundles() {
	bundles, err := os.ReadDir(a.dir.path("bundles"))
	if err != nil {
		return
	}
	before := "" // what a person may ask to go back to is verified then
	if u := a.state.Undo; u != nil {
		before = u.Before
	}
	for _, e := range bundles {
		if digest, _, _ := strings.Cut(e.Name(), "."); digest != a.state.Applied && digest != before {
			_ = os.Remove(a.dir.path("bundles", e.Name()))
		}
	}
}
