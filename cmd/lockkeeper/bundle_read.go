package main

import (
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// fetchTries is how often a bundle at a URL is asked for; each goes on where the
// one before broke off.
const fetchTries = 3

// isBundleFile reports whether a word names a file, and not a bundle by its digest
// or name.
func isBundleFile(word string) bool {
	if partDigest.MatchString(word) {
		return false
	}
	if strings.ContainsRune(word, filepath.Separator) || strings.HasSuffix(word, ".bundle") || strings.HasSuffix(word, ".tar") {
		return true // if it is there or not
	}
	info, err := os.Stat(word)
	return err == nil && info.Mode().IsRegular() // a folder may be what it was built from
}

// readBundle reads a whole bundle: a file, or what has that digest, which dir is
// for if it lies at a URL.
func (a *app) readBundle(ctx context.Context, word, dir string) (*bundle.Bundle, error) {
	if isBundleFile(word) {
		b, err := bundle.OpenFile(word, bundle.MaxLinked)
		if errors.Is(err, os.ErrNotExist) {
			return nil, usagef("bundle %q: there is no such file: want a bundle's file, a digest or its beginning, NAME or NAME:VERSION", word)
		}
		if err != nil {
			return nil, wrongSource(word, err)
		}
		return b, nil
	}
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	known, err := a.knownBundle(ctx, c, word)
	if err != nil {
		return nil, err
	}
	if known.URL != "" {
		return fetchBundle(ctx, known, dir)
	}
	r, _, err := c.OpenBundle(ctx, known.Digest)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, bundle.MaxSize+1))
	if err != nil {
		return nil, err
	}
	return bundle.Parse(text)
}

func (a *app) knownBundle(ctx context.Context, c coordinator, word string) (api.Bundle, error) {
	digest, err := namedBundle(ctx, c, word)
	if err != nil {
		return api.Bundle{}, err
	}
	return c.Bundle(ctx, digest)
}

// fetchBundle fetches a bundle from the URL that it is known by.
func fetchBundle(ctx context.Context, known api.Bundle, dir string) (*bundle.Bundle, error) {
	u, err := url.Parse(known.URL)
	if err != nil {
		return nil, err
	}
	d, err := client.NewDownloader(client.DownloaderConfig{Sources: []string{"https://", u.Scheme + "://" + u.Host + "/"}})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, known.Digest)
	for try := 1; ; try++ {
		_, err = d.Fetch(ctx, known.URL, known.Size, file)
		if err == nil {
			break
		}
		if try == fetchTries || errors.As(err, new(*api.Error)) || ctx.Err() != nil {
			return nil, err
		}
	}
	b, err := bundle.OpenFile(file, bundle.MaxLinked)
	if err == nil && b.Digest != known.Digest {
		err = api.Errorf(api.Invalid, "bundle %s: what lies at %s is %s", short(known.Digest), known.URL, b.Digest)
	}
	return b, err
}
