package client

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// maxProblem bounds what is read of a refusal, in bytes.
const maxProblem = 4 << 20

// problem reads an answer that is no 2xx. A problem of RFC 9457 that names a
// kind becomes an *api.Error; what a proxy says in a coordinator's place is an
// error of our own.
func problem(resp *http.Response, server string) error {
	defer resp.Body.Close()
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var p api.Problem
	if mediaType == "application/problem+json" {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
		if err != nil || json.Unmarshal(body, &p) != nil {
			p.Kind = ""
		}
	}
	if p.Kind == "" {
		return stranger(resp, server)
	}
	e := &api.Error{
		Kind: p.Kind, Detail: p.Detail, Fields: p.Errors, Blockers: p.Blockers, Place: p.Place, Earliest: p.Earliest,
		RequestID: p.RequestID, RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
	if e.RequestID == "" {
		e.RequestID = resp.Header.Get(api.HeaderRequestID)
	}
	return e
}

// stranger judges an answer that no coordinator wrote.
func stranger(resp *http.Response, server string) error {
	err := fmt.Errorf("%w: %s answers with HTTP %d and no explanation: is it a Lockkeeper coordinator?", ErrUnreachable, server, resp.StatusCode)
	if resp.StatusCode == http.StatusBadRequest && strings.HasPrefix(server, "http://") {
		err = fmt.Errorf("%w If it speaks TLS there, want https://", err)
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		err = fmt.Errorf("%w: %s redirects (HTTP %d), which is not followed: give the address that it leads to", ErrUnreachable, server, resp.StatusCode)
	}
	return err
}

// retryAfter reads the header's seconds or date (RFC 9110 10.2.3).
func retryAfter(text string, now time.Time) time.Duration {
	if text == "" {
		return 0
	}
	if s, err := strconv.Atoi(text); err == nil {
		return time.Duration(max(0, min(s, 24*60*60))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, min(at.Sub(now), 24*time.Hour))
	}
	return 0
}

// remedy is what to do about an error of the connection, as the end of its
// sentence; empty where that is plain, or nobody knows.
func remedy(err error) string {
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &unknown):
		return "; give the authority by --ca-file, or the coordinator's key by --pin"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "; want http://"
	}
	return ""
}
