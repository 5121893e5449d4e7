package httpapi

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// escapedPath makes chi route by the path as it was sent, so that an id with
// an escaped slash stays one segment, and so that every parameter is escaped.
func escapedPath(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.RawPath = r.URL.EscapedPath()
		next.ServeHTTP(w, r)
	})
}

// wrongMethod answers 405 with the methods that the path has.
func wrongMethod(mux *chi.Mux, w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		if mux.Match(chi.NewRouteContext(), m, r.URL.EscapedPath()) {
			allowed = append(allowed, m)
		}
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	e := api.Errorf(api.Invalid, "%s has no method %s: it has %s", r.URL.EscapedPath(), r.Method, strings.Join(allowed, ", "))
	api.WriteProblemStatus(w, e, http.StatusMethodNotAllowed)
}

// at makes an error of kind invalid with its place.
func at(place, format string, args ...any) *api.Error {
	e := api.Errorf(api.Invalid, format, args...)
	e.Fields = []api.FieldError{{Path: place, Detail: e.Detail}}
	e.Detail = place + ": " + e.Detail
	return e
}

// etag is a revision as an entity tag.
func etag(revision int64) string { return strconv.Quote(strconv.FormatInt(revision, 10)) }

// ifMatch reads If-Match: a revision, quoted or not, or "*".
func ifMatch(text string) (string, error) {
	text = strings.TrimSpace(text)
	if text == "" || text == "*" {
		return text, nil
	}
	bare := text
	if unquoted, err := strconv.Unquote(text); err == nil {
		bare = unquoted
	}
	if n, err := strconv.ParseInt(bare, 10, 64); err != nil || n < 0 {
		return "", at("header.If-Match", `%q is no revision: want one such as "17" as in ETag, or * to create only`, text)
	}
	return bare, nil
}

// maxWait is the longest that an acquire may wait.
const maxWait = 25 * time.Minute

// waiting reads ?wait=.
func waiting(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxWait {
		return 0, at("query.wait", "%q is no waiting time: want one from 0s to %s, such as 30s", text, maxWait)
	}
	return d, nil
}

// contentDigest reads the sha-256 of RFC 9530's Content-Digest as hexadecimal,
// "" when the header is absent.
func contentDigest(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	for _, member := range strings.Split(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(member), "=")
		if !strings.EqualFold(name, "sha-256") {
			continue
		}
		value, _, _ = strings.Cut(value, ";")
		inner, ok := strings.CutPrefix(value, ":")
		inner, closed := strings.CutSuffix(inner, ":")
		sum, err := base64.StdEncoding.DecodeString(inner)
		if !ok || !closed || err != nil || len(sum) != 32 {
			break
		}
		return hex.EncodeToString(sum), nil
	}
	return "", at("header.Content-Digest", "%q has no SHA-256: want sha-256=:BASE64: as in RFC 9530", text)
}
