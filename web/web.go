package web

import (
	"compress/gzip"
	"context"
	"embed"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"slices"
	"time"

	"github.com/go-chi/chi/v5/middleware"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// Backend is what the dashboard needs of the service. The context carries the
// principal who asks; every error is an *api.Error.
type Backend interface {
	Authenticate(ctx context.Context, secret string) (auth.Principal, error)
	Status(ctx context.Context) (api.Status, error)
	Explain(ctx context.Context, group string) (api.Explanation, error)
	Group(ctx context.Context, name string) (api.Group, error)
	PutGroup(ctx context.Context, name string, spec api.GroupSpec, ifMatch string) (api.Group, error)
	Freeze(ctx context.Context, group string, req api.FreezeRequest) (api.Freeze, error)
	Unfreeze(ctx context.Context, group, id string) error
	Nodes(ctx context.Context, q api.NodeQuery) (api.NodeList, error)
	// AllNodes are the nodes by id, as every viewer shares them: nothing in them
	// may be changed.
	AllNodes(ctx context.Context) ([]api.Node, error)
	Node(ctx context.Context, id string) (api.Node, error)
	PatchNode(ctx context.Context, id string, patch api.NodePatch, ifMatch string) (api.Node, error)
	DeleteNode(ctx context.Context, id string) error
	SetPriority(ctx context.Context, group, node string, req api.PriorityRequest) error
	ExplainNode(ctx context.Context, id string) (api.Verdict, error)
	NodeAction(ctx context.Context, id, action string, req api.NodeActionRequest) (api.Node, error)
	Revoke(ctx context.Context, group, node string, req api.RevokeRequest) (api.Hold, error)
	ForceRelease(ctx context.Context, group, node string, req api.ReleaseRequest) error
	Bundles(ctx context.Context) ([]api.Bundle, error)
	Bundle(ctx context.Context, digest string) (api.Bundle, error)
	OpenBundle(ctx context.Context, digest string) (io.ReadCloser, int64, error)
	Snapshots(ctx context.Context) (api.SnapshotList, error)
	Tokens(ctx context.Context) ([]api.Token, error)
	CreateRollout(ctx context.Context, spec api.RolloutSpec, idempotencyKey string) (api.Rollout, bool, error)
	Plan(ctx context.Context, spec api.RolloutSpec) (api.Plan, error)
	Rollouts(ctx context.Context) ([]api.Rollout, error)
	Rollout(ctx context.Context, id string) (api.Rollout, error)
	RolloutAction(ctx context.Context, id, action string, req api.RolloutActionRequest) (api.Rollout, error)
	Events(ctx context.Context, q api.EventQuery) (api.EventList, error)
	// Changed is closed at the next change of anything shown.
	Changed() <-chan struct{}
}

// Options of New. The zero value of each is usable.
type Options struct {
	Version string           // shown in the foot of each page
	Logger  *slog.Logger     // nil: slog.Default
	Now     func() time.Time // nil: time.Now
}

//go:embed static
var staticFiles embed.FS

// server answers the dashboard's requests.
type server struct {
	backend Backend
	opts    Options
	pages   map[string]*page
	hub     *hub
}

// New returns the dashboard's handler: /, its pages, their forms, /ui/stream
// and /static/. It expects the door around it: the principal in the context,
// cross-origin posts refused, a request id in the answer's header.
// A stream ends with its request's context; the caller cancels those when it
// stops (http.Server.BaseContext).
func New(backend Backend, opts Options) http.Handler {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &server{backend: backend, opts: opts, pages: livePages()}
	s.hub = newHub(s.renderTopic, backend.Changed)

	static, err := fs.Sub(staticFiles, "static")
	if err != nil {
		panic(err) // the folder is embedded
	}
	mux := http.NewServeMux()
	mux.Handle("GET /static/", cached(http.StripPrefix("/static/", http.FileServerFS(static))))
	mux.HandleFunc("GET /static/{$}", http.NotFound) // no list of them
	mux.HandleFunc("GET /login", s.showLogin)
	mux.HandleFunc("POST /ui/login", s.login)
	mux.HandleFunc("POST /ui/logout", s.logout)

	inside := http.NewServeMux()
	for path, name := range map[string]string{
		"/{$}": "overview", "/groups/{arg}": "group", "/nodes/{arg}": "node", "/rollouts": "rollouts",
		"/rollouts/{arg}": "rollout", "/bundles": "bundles", "/cluster": "cluster", "/nodes": "nodes", "/events": "events",
	} {
		inside.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			s.showPage(w, r, name, pathID(r, "arg"))
		})
	}
	inside.HandleFunc("GET /find", s.find)
	inside.HandleFunc("GET /keys", s.showKeys)
	inside.HandleFunc("GET /bundles/{digest}", s.showBundle)
	inside.HandleFunc("GET /bundles/diff", s.showDiff)
	s.formRoutes(inside)
	inside.HandleFunc("/", s.notFound)
	mux.Handle("/", s.signedIn(inside))

	// A stream is not compressed: that would cost each viewer a compressor's memory.
	all := http.NewServeMux()
	all.Handle("GET /ui/stream", s.signedIn(http.HandlerFunc(s.stream)))
	all.Handle("/", middleware.Compress(gzip.BestSpeed, "text/html", "text/css", "text/javascript", "image/svg+xml")(mux))
	return secured(all)
}

// signedIn lets in who may read, and sends everybody else to the login page.
func (s *server) signedIn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := auth.From(r.Context())
		switch {
		case who.Allows(api.RoleViewer):
			next.ServeHTTP(w, r)
		case who.Known():
			s.refuse(w, r, api.Errorf(api.Forbidden, "this token is of role %q; the dashboard needs viewer or more", who.Role))
		case (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.URL.Path != "/ui/stream":
			http.Redirect(w, r, "/login?next="+queryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		default:
			s.refuse(w, r, api.Errorf(api.Unauthenticated, "log in first: this session has ended"))
		}
	})
}

// secured sets the headers of every answer. The policy allows nothing inline
// and nothing from elsewhere.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// cached lets browsers keep static files for as long as their address, which
// carries their hash, stays the same.
func cached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("v") {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		} else {
			w.Header().Set("Cache-Control", "no-cache")
		}
		next.ServeHTTP(w, r)
	})
}

// cameFrom is the page of this site that the request names as its referrer,
// or the fallback.
func cameFrom(r *http.Request, fallback string) string {
	u, err := url.Parse(r.Referer())
	if err != nil || u.Host != r.Host || u.Path == "" || slices.Contains(askedActions, path.Base(u.Path)) {
		return fallback
	}
	return localPath(u.RequestURI())
}
