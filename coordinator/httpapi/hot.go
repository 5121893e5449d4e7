package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Acquire, confirm and release are what a coordinator does all day, and what
// thousands of parked requests stand in. Requests for them that look as clients
// of ours write them are read and answered here, at half the cost in time and
// memory of a router and a schema. Whatever looks any other way, right or
// wrong, goes on to the operation as it was registered: this path refuses
// nothing by itself, and answers as that one would.

// holdRoute is the route under which both are counted.
const holdRoute = Root + "/groups/{group}/holds/{node}"

// plainBody is the longest body that is read here, in bytes.
const plainBody = 2 << 10

// hot takes the requests that it knows out of the way to the next handler.
func (s *service) hot(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		group, node, action, ok := holdPath(r.URL.EscapedPath())
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		var call func(context.Context) (any, error)
		waits := false
		switch {
		case r.Method == http.MethodPut && action == "":
			call, waits = s.hotAcquire(r, group, node)
		case r.Method == http.MethodPost && action == "confirm":
			call = s.hotConfirm(r, group, node)
		case r.Method == http.MethodDelete && action == "":
			call = s.hotRelease(r, group, node)
		}
		if call == nil {
			next.ServeHTTP(w, r)
			return
		}
		if route := chi.RouteContext(r.Context()); route != nil {
			pattern := holdRoute
			if action != "" {
				pattern += "/" + action
			}
			route.RoutePatterns = append(route.RoutePatterns, pattern)
		}
		if waits {
			s.waitApart(w, r, call)
			return
		}
		out, err := call(r.Context())
		s.reply(r.Context(), w, out, err)
	})
}

// reply answers as the registered operation would.
func (s *service) reply(ctx context.Context, w http.ResponseWriter, out any, err error) {
	switch {
	case err != nil:
		if api.ProblemOf(err, "").Kind == api.Internal {
			s.log.ErrorContext(ctx, "the request failed", "request_id", api.RequestID(ctx), "err", err)
		}
		api.WriteProblem(w, err)
	case out == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		writeJSON(w, out)
	}
}

// holdPath takes apart /groups/GROUP/holds/NODE[/ACTION] whose ids have nothing
// escaped.
func holdPath(path string) (group, node, action string, ok bool) {
	rest, ok := strings.CutPrefix(path, Root+"/groups/")
	if !ok || strings.IndexByte(rest, '%') >= 0 {
		return "", "", "", false
	}
	group, rest, _ = strings.Cut(rest, "/")
	rest, ok = strings.CutPrefix(rest, "holds/")
	if !ok {
		return "", "", "", false
	}
	node, action, more := strings.Cut(rest, "/")
	return group, node, action, group != "" && node != "" && more == (action != "")
}

func (s *service) hotAcquire(r *http.Request, group, node string) (call func(context.Context) (any, error), waits bool) {
	var text string
	if r.URL.RawQuery != "" {
		var ok bool
		if text, ok = strings.CutPrefix(r.URL.RawQuery, "wait="); !ok || strings.ContainsAny(text, "&%+;=") {
			return nil, false
		}
	}
	wait, err := waiting(text)
	if err != nil {
		return nil, false
	}
	var req api.AcquireRequest
	if !readFlat(r, nil, fields{
		"instance": {&req.Instance, true}, "request": {&req.Request, true}, "boot_id": {&req.BootID, false}, "reason": {&req.Reason, false},
	}) {
		return nil, false
	}
	return func(ctx context.Context) (any, error) {
		out, err := s.Acquire(ctx, group, node, req, wait)
		if err != nil {
			return nil, err
		}
		return out, nil
	}, wait > 0
}

func (s *service) hotConfirm(r *http.Request, group, node string) func(context.Context) (any, error) {
	var req api.ConfirmRequest
	if r.URL.RawQuery != "" || !readFlat(r, &req.Fence, fields{
		"instance": {&req.Instance, true}, "boot_id": {&req.BootID, true}, "rollout": {&req.Rollout, false},
	}) {
		return nil
	}
	return func(ctx context.Context) (any, error) {
		out, err := s.Confirm(ctx, group, node, req)
		return out, err
	}
}

func (s *service) hotRelease(r *http.Request, group, node string) func(context.Context) (any, error) {
	text, ok := strings.CutPrefix(r.URL.RawQuery, "fence=")
	if !ok || r.ContentLength != 0 {
		return nil
	}
	text, instance, ok := strings.Cut(text, "&instance=")
	if !ok || strings.ContainsAny(instance, "&%+;=") {
		return nil
	}
	fence, ok := plainNumber(text)
	if !ok {
		return nil
	}
	return func(ctx context.Context) (any, error) { return nil, s.Release(ctx, group, node, fence, instance) }
}

// plainNumber reads 0 and up to 15 digits that do not begin with one.
func plainNumber[T string | []byte](text T) (int64, bool) {
	if len(text) == 0 || len(text) > 15 || text[0] == '0' && len(text) > 1 {
		return 0, false
	}
	var n int64
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
		n = 10*n + int64(text[i]-'0')
	}
	return n, true
}

// fields are the members of a flat object that are texts, and whether one must
// be there.
type fields map[string]field

type field struct {
	into     *string
	required bool
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// readFlat reads a short body that is an object of plain texts and, with fence,
// that one number. If it is anything else the body can be read again from its
// beginning.
func readFlat(r *http.Request, fence *int64, texts fields) bool {
	// Of a type in other words the registered operation may think otherwise.
	if r.ContentLength < 2 || r.ContentLength > plainBody || r.Header.Get("Content-Type") != "application/json" {
		return false
	}
	buf := buffers.Get().(*bytes.Buffer)
	buf.Reset()
	_, err := io.CopyN(buf, r.Body, r.ContentLength)
	if err == nil && flat(buf.Bytes(), fence, texts) {
		buffers.Put(buf)
		return true
	}
	r.Body = &readAgain{Reader: io.MultiReader(buf, r.Body), Closer: r.Body}
	return false
}

// readAgain is a body of which some was read already.
type readAgain struct {
	io.Reader
	io.Closer
}

// flat reads {"name":"text","fence":7} as encoding/json writes it: no white
// space, nothing escaped, ASCII, each name once and known.
func flat(b []byte, fence *int64, texts fields) bool {
	if len(b) < 2 || b[0] != '{' || b[len(b)-1] != '}' {
		return false
	}
	b = b[1 : len(b)-1]
	seen := 0
	for len(b) > 0 {
		if seen++; seen > 1 {
			if b[0] != ',' {
				return false
			}
			b = b[1:]
		}
		name, rest, ok := plainText(b)
		if !ok || len(rest) < 2 || rest[0] != ':' {
			return false
		}
		b = rest[1:]
		if fence != nil && string(name) == "fence" {
			digits := b
			if end := bytes.IndexByte(b, ','); end >= 0 {
				digits = b[:end]
			}
			if *fence, ok = plainNumber(digits); !ok {
				return false
			}
			b, fence = b[len(digits):], nil
			continue
		}
		f, known := texts[string(name)]
		value, rest, ok := plainText(b)
		if !ok || !known {
			return false
		}
		*f.into, b = string(value), rest
		delete(texts, string(name))
	}
	for _, f := range texts {
		if f.required {
			return false
		}
	}
	return fence == nil
}

// plainText reads one quoted text.
func plainText(b []byte) (text, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return b[1:i], b[i+1:], true
		case c < 0x20 || c > 0x7e || c == '\\':
			return nil, nil, false
		}
	}
	return nil, nil, false
}

// writeJSON answers as huma does.
func writeJSON(w http.ResponseWriter, v any) {
	buf := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buf)
	buf.Reset()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		api.WriteProblem(w, err)
		return
	}
	w.Header()["Content-Type"] = []string{"application/json"}
	w.Header()["Content-Length"] = []string{strconv.Itoa(buf.Len())}
	_, _ = w.Write(buf.Bytes())
}
