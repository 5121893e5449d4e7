package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Bounds of a download.
const (
	// silence is how long a server may send nothing.
	silence = 30 * time.Second
	// oneTry bounds one attempt; the next goes on where it ended.
	oneTry = 10 * time.Minute
	// maxRedirects that are followed, to places that are allowed too.
	maxRedirects = 5
)

// DownloaderConfig says where bundles may be fetched from.
type DownloaderConfig struct {
	// Sources are the beginnings of the URLs that are accepted, each with a / at
	// its end; default "https://".
	Sources []string
	// CAFile holds the authorities that may vouch for an https server; default
	// are the system's.
	CAFile string
}

// Downloader fetches bundles that lie at URLs. It sends no credentials.
type Downloader struct {
	sources []string
	silence time.Duration
	http    *http.Client
}

// NewDownloader checks the configuration.
func NewDownloader(cfg DownloaderConfig) (*Downloader, error) {
	if len(cfg.Sources) == 0 {
		cfg.Sources = []string{"https://"}
	}
	for _, s := range cfg.Sources {
		u, err := url.Parse(s)
		web := err == nil && (u.Scheme == "https" || u.Scheme == "http" && u.Host != "")
		if !web || u.User != nil || !strings.HasSuffix(s, "/") {
			return nil, fmt.Errorf("source of bundles %q: want https://, or the beginning of URLs with a / at its end, such as http://files.lan/bundles/", s)
		}
	}
	tc, err := tlsConfig(cfg.CAFile, "")
	if err != nil {
		return nil, err
	}
	d := &Downloader{sources: cfg.Sources, silence: silence}
	d.http = &http.Client{
		Transport: &http.Transport{
			Proxy:       http.ProxyFromEnvironment,
			DialContext: (&net.Dialer{Timeout: dialWithin}).DialContext,
			// Compressed, the bytes would not be those of the digest.
			TLSClientConfig: tc, TLSHandshakeTimeout: dialWithin, ResponseHeaderTimeout: silence,
			DisableCompression: true, DisableKeepAlives: true, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("more than %d redirects", maxRedirects)
			}
			return d.Accepts(req.URL.String())
		},
	}
	return d, nil
}

// Accepts refuses a URL that nothing is fetched from, as an *api.Error.
func (d *Downloader) Accepts(text string) error {
	u, err := url.Parse(text)
	if err == nil && u.User == nil && (u.Path == "" || path.Clean(u.Path) == u.Path) {
		for _, s := range d.sources {
			if strings.HasPrefix(u.String(), s) {
				return nil
			}
		}
	}
	return api.Errorf(api.Invalid, "bundle: nothing is fetched from %.200q; accepted: URLs that begin with %s", text, strings.Join(d.sources, " or "))
}

// Fetch makes file the size bytes at a URL, and goes on where an earlier call
// ended. What cannot be mended by asking again is an *api.Error; after any other
// error the same call goes on. The content is the caller's to verify: resumed
// says that some of it came from an earlier call.
func (d *Downloader) Fetch(ctx context.Context, from string, size int64, file string) (resumed bool, err error) {
	if err := d.Accepts(from); err != nil {
		return false, err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return false, err
	}
	defer f.Close()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	if have > size {
		if have, err = 0, restart(f); err != nil {
			return false, err
		}
	}
	resumed = have > 0
	if have < size {
		if resumed, err = d.rest(ctx, f, from, have, size); err != nil {
			return resumed, err
		}
	}
	if err := f.Sync(); err != nil {
		return resumed, err
	}
	return resumed, f.Close()
}

func restart(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// rest fetches what is missing behind the first have bytes.
func (d *Downloader) rest(ctx context.Context, f *os.File, from string, have, size int64) (resumed bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, oneTry, fmt.Errorf("not done within %s", oneTry))
	defer cancel()
	ctx, quiet := context.WithCancelCause(ctx)
	watch := time.AfterFunc(d.silence, func() { quiet(fmt.Errorf("nothing came for %s", d.silence)) })
	defer watch.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return false, api.Errorf(api.Invalid, "bundle: %v", err)
	}
	if have > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(have, 10)+"-")
	}
	resp, err := d.http.Do(req)
	if err != nil {
		return false, why(ctx, err)
	}
	defer resp.Body.Close()
	part := resp.StatusCode == http.StatusPartialContent && have > 0 &&
		strings.HasPrefix(resp.Header.Get("Content-Range"), "bytes "+strconv.FormatInt(have, 10)+"-")
	switch {
	case part:
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable, resp.StatusCode == http.StatusPartialContent:
		return false, errors.Join(fmt.Errorf("GET %s: the server cannot go on at byte %d: from the beginning", from, have), restart(f))
	case resp.StatusCode != http.StatusOK:
		return false, status(from, resp.StatusCode)
	default: // it sends all of it
		if have, err = 0, restart(f); err != nil {
			return false, err
		}
	}
	if n := resp.ContentLength; n >= 0 && n != size-have {
		return part, api.Errorf(api.Invalid, "bundle: %s sends %d bytes; accepted: the %d that it was made known with", from, have+n, size)
	}
	n, err := io.Copy(f, io.LimitReader(&watched{resp.Body, watch, d.silence}, size-have+1))
	switch {
	case err != nil:
		return part, fmt.Errorf("GET %s: it broke off after %d of %d bytes: %w", from, have+n, size, why(ctx, err))
	case n > size-have:
		return part, errors.Join(api.Errorf(api.Invalid, "bundle: %s sends more than the %d bytes that it was made known with", from, size), restart(f))
	case n < size-have:
		return part, fmt.Errorf("GET %s: it ended after %d of %d bytes", from, have+n, size)
	}
	return part, nil
}

// why says what ended a request.
func why(ctx context.Context, err error) error {
	var refused *api.Error
	if errors.As(err, &refused) {
		return refused // by CheckRedirect
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%w (%w)", err, cause)
	}
	return err
}

// status is what an answer means that is no content.
func status(from string, code int) error {
	text := fmt.Sprintf("GET %s: %d %s", from, code, http.StatusText(code))
	if code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout {
		return errors.New(text)
	}
	return api.Errorf(api.NotFound, "bundle: %s; accepted: 200 with the bundle's file", text)
}

// watched puts the watch off for as long as something comes.
type watched struct {
	r       io.Reader
	watch   *time.Timer
	silence time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.watch.Reset(w.silence)
	}
	return n, err
}
