package door

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// Cluster is what every answer says of the cluster.
type Cluster interface {
	ClusterID() (id string, incarnation int64)
	Revision() int64
	Stale() bool
	// ForeignCluster is told that a client of another cluster calls, by a
	// principal only if the request is one that an agent makes, and says
	// how it is refused.
	ForeignCluster(ctx context.Context, theirID string) *api.Error
}

// Options of Wrap.
type Options struct {
	// Authenticate says whose secret it is, or refuses with an *api.Error.
	Authenticate func(ctx context.Context, secret string) (auth.Principal, error)
	Cluster      Cluster
	// AllowedHosts are the names that clients may call this coordinator by,
	// besides those of loopback and the address that they connected to.
	AllowedHosts []string
	// Loopback: only this host can connect, and needs no credentials.
	Loopback bool
	// FleetLock: serves the FleetLock protocol and nothing else, to hosts that
	// cannot send credentials.
	FleetLock bool
	Limiter   *Limiter     // nil bounds nothing
	Logger    *slog.Logger // nil discards
	Metrics   *Metrics     // nil counts nothing
}

// door checks requests on their way in and dresses answers on their way out.
type door struct {
	Options
	next       http.Handler
	hosts      map[string]bool
	cross      *http.CrossOriginProtection
	bodyWithin time.Duration
	hush       hush
}

// Wrap puts the door in front of a handler. The handler gets paths as clients
// escaped them (URL.RawPath is always set), and who asks in the context.
func Wrap(next http.Handler, o Options) http.Handler {
	return newDoor(next, o)
}

func newDoor(next http.Handler, o Options) *door {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d := &door{Options: o, next: next, hosts: map[string]bool{}, cross: http.NewCrossOriginProtection(), bodyWithin: bodyWithin}
	for _, name := range o.AllowedHosts {
		d.hosts[hostOnly(name)] = true
	}
	return d
}

func (d *door) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	route := chi.NewRouteContext()
	id := rand.Text()
	r = r.WithContext(api.WithRequestID(context.WithValue(r.Context(), chi.RouteCtxKey, route), id))
	r.URL.RawPath = r.URL.EscapedPath()

	w := &recorder{
		ResponseWriter: rw, control: http.NewResponseController(rw), door: d, asks: r,
		entry: entry{start: time.Now(), id: id, method: r.Method, path: r.URL.RawPath, peer: r.RemoteAddr, changes: changes(r)},
	}
	d.headers(w.Header(), r.URL.Path, id)
	d.guardBody(w, r)
	defer func() {
		fault := recover()
		if fault != nil && fault != http.ErrAbortHandler { //nolint:errorlint // net/http panics with this very value
			d.Logger.Error("a request made the coordinator panic", "request_id", id, "fault", fault, "stack", string(debug.Stack()))
			if !w.wrote && !w.gone {
				api.WriteProblem(w, api.Errorf(api.Internal, "the coordinator failed; its log says why under this request id"))
			}
		}
		if !w.gone { // else whoever took it away ends it
			w.entry.route = routeOf(route, r)
			d.note(&w.entry, w.code(), r.Context().Err() != nil)
			w.finish()
			w.ticket.leave()
		}
		if fault != nil {
			panic(http.ErrAbortHandler)
		}
	}()

	k := kindOfRequest(r)
	principal, err := d.check(w, r)
	if err == nil {
		w.entry.who = principal.Name
		w.ticket, err = d.Limiter.enter(r.Context(), clientOf(r, principal), k, patienceOf(r, k))
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	if w.ticket.stood {
		d.limitBody(w, r) // what is there of the body was not read meanwhile
	}
	if k == queues {
		// Whichever way it is answered: those that wait must not keep out the
		// release that they wait for.
		defer time.AfterFunc(WaitsAfter, w.ticket.parked).Stop()
	}
	d.next.ServeHTTP(w, r.WithContext(auth.With(r.Context(), principal)))
}

// refusal is an error with a status of HTTP's own.
type refusal struct {
	why    *api.Error
	status int
}

func (e *refusal) Error() string { return e.why.Error() }
func (e *refusal) Unwrap() error { return e.why }

// check is everything that a request must pass, in the order in which a
// stranger may learn of it.
func (d *door) check(w http.ResponseWriter, r *http.Request) (auth.Principal, error) {
	if err := d.checkHost(r); err != nil {
		return auth.Principal{}, err
	}
	if err := d.cross.Check(r); err != nil {
		return auth.Principal{}, api.Errorf(api.Forbidden, "the request comes from another site's page, which may change nothing here: %v", err)
	}
	if err := checkContentType(r); err != nil {
		return auth.Principal{}, err
	}
	if err := boundForm(w, r); err != nil {
		return auth.Principal{}, err
	}
	if d.FleetLock {
		return auth.Principal{}, nil
	}
	principal, err := d.authenticate(w, r)
	if err != nil {
		return auth.Principal{}, err
	}
	theirs := r.Header.Get(api.HeaderCluster)
	if theirs != "" && d.Cluster != nil {
		if own, _ := d.Cluster.ClusterID(); own != theirs {
			// A header alone is no agent: on loopback anybody's request is an
			// administrator's.
			caller := auth.Principal{}
			if ofAgent(r) {
				caller = principal
			}
			if e := d.Cluster.ForeignCluster(auth.With(r.Context(), caller), theirs); e != nil {
				return auth.Principal{}, e
			}
		}
	}
	return principal, nil
}

// ofAgent reports whether a request is one that an agent makes: poll, acquire,
// confirm or release.
func ofAgent(r *http.Request) bool {
	rest, found := strings.CutPrefix(r.URL.EscapedPath(), "/api/v1/")
	if !found {
		return false
	}
	path := strings.Split(rest, "/")
	hold := len(path) >= 4 && path[0] == "groups" && path[2] == "holds"
	switch r.Method {
	case http.MethodPost:
		return len(path) == 3 && path[0] == "nodes" && path[2] == "poll" ||
			len(path) == 5 && hold && path[4] == "confirm"
	case http.MethodPut, http.MethodDelete:
		return len(path) == 4 && hold
	}
	return false
}

func (d *door) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status := 0
	var own *refusal
	if errors.As(err, &own) {
		status = own.status
	}
	if isFleetLock(r) {
		writeFleetLock(w, err, status)
		return
	}
	api.WriteProblemStatus(w, err, status)
}

// constant are the headers that every answer has, in canonical form. The
// values are shared by all answers: Set replaces them, and Add copies them.
var constant = map[string][]string{
	"X-Content-Type-Options":       {"nosniff"},
	"X-Frame-Options":              {"DENY"},
	"Referrer-Policy":              {"same-origin"},
	"Cross-Origin-Opener-Policy":   {"same-origin"},
	"Cross-Origin-Resource-Policy": {"same-origin"},
	"Content-Security-Policy":      {"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"},
}

var noStore = []string{"no-store"}

// headers are in every answer. A handler may replace them.
func (d *door) headers(h http.Header, path, id string) {
	maps.Copy(h, constant)
	h[api.HeaderRequestID] = []string{id}
	if strings.HasPrefix(path, "/api/") {
		h["Cache-Control"] = noStore
	}
}

// clientLeft stands in log and metrics for an error that nobody was there to
// read, as of a long poll that was given up. It is never sent.
const clientLeft = 499

// entry is what log and metrics tell of a request.
type entry struct {
	start                              time.Time
	id, method, path, peer, who, route string
	changes                            bool
}

// note counts a request and logs it: once when it changed something, and when
// it failed. Refusals that belong to the semaphore's daily work, of which a
// waiting fleet makes many, and those of a flood are counted and logged only
// for debugging. Of those of a stranger one a minute is logged, and the rest told
// by their number.
func (d *door) note(e *entry, code int, gone bool) {
	took := time.Since(e.start)
	left := gone && code >= 400
	if left {
		code = clientLeft
	}
	d.Metrics.count(e.route, e.method, code, took)
	level := slog.LevelDebug
	switch {
	case left:
	case code >= 500 && code != http.StatusServiceUnavailable:
		level = slog.LevelError
	case code == http.StatusConflict || code == http.StatusLocked || code == http.StatusTooManyRequests:
	case code >= 400:
		level = slog.LevelWarn
	case e.changes && !strings.HasSuffix(e.route, "/poll") && !strings.HasSuffix(e.route, "/plans"):
		level = slog.LevelInfo
	}
	ctx := context.Background()
	now := e.start.Add(took)
	for _, s := range d.hush.over(now) {
		d.Logger.LogAttrs(ctx, slog.LevelWarn, "more requests of a stranger were refused", slog.String("peer", s.peer),
			slog.Int("requests", s.more), slog.Time("since", s.since))
	}
	if level == slog.LevelWarn && e.who == "" && code < 500 && !d.hush.refused(e.peer, now) {
		level = slog.LevelDebug
	}
	if !d.Logger.Enabled(ctx, level) {
		return
	}
	d.Logger.LogAttrs(ctx, level, "request", slog.String("request_id", e.id), slog.String("method", logged(e.method)),
		slog.String("path", logged(e.path)), slog.Int("status", code), slog.String("by", e.who),
		slog.String("peer", e.peer), slog.Duration("took", took.Round(time.Microsecond)))
}

// maxLogged bounds what a line of the log repeats of a request, in bytes. The
// longest path that there is, with a node's id of which each byte is escaped, is
// shorter.
const maxLogged = 3500

func logged(text string) string {
	if len(text) <= maxLogged {
		return text
	}
	return text[:maxLogged] + "…"
}
