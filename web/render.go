package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

//go:embed templates
var templateFiles embed.FS

// Frame is what a page's fragments are rendered from: the same for every
// viewer, so that one rendering serves them all.
type Frame struct {
	Now    time.Time
	Day    time.Time // today, UTC: also in a fragment, which has no Now
	Nav    string    // section of the menu
	Topic  string    // of the stream, empty: only the shell is live
	Status api.Status
	Data   any
}

// Self lets a template hand the frame on, whatever it was given.
func (f Frame) Self() Frame { return f }

// view is a frame in front of one viewer.
type view struct {
	Frame
	Title   string
	Who     auth.Principal
	Version string
	Problem *problem
}

// Reads reports whether the viewer may see the fleet at all.
func (v view) Reads() bool { return v.Who.Allows(api.RoleViewer) }

// Off says why this viewer may not do now what a role may do, empty if nothing
// forbids it: the button of a form is off then, instead of refused when it is sent.
func (v view) Off(role api.Role) string {
	switch {
	case !v.Who.Allows(role):
		return fmt.Sprintf("Needs the role %s; yours is %s", role, v.Who.Role)
	case v.Status.Stale:
		return "Needs a quorum"
	}
	return ""
}

// problem is a refused request as the page shows it.
type problem struct {
	*api.Error
	What      string // "Slot not freed"
	RequestID string
}

// Said is the sentence of the problem, unless it only says what its first field says.
func (p problem) Said() string {
	if len(p.Fields) > 0 && strings.HasPrefix(p.Detail, p.Fields[0].Path+": "+p.Fields[0].Detail) {
		return ""
	}
	if word, _, _ := strings.Cut(p.Detail, " "); strings.ContainsAny(word, "=:") {
		return p.Detail // it begins with a name as it is typed
	}
	return capital(p.Detail)
}

// Beside are the fields of which the sentence does not say all.
func (p problem) Beside() []api.FieldError {
	said := p.Said()
	return slices.DeleteFunc(slices.Clone(p.Fields), func(f api.FieldError) bool { return strings.Contains(said, f.Detail) })
}

// Code is the problem's HTTP status and kind.
func (p problem) Code() string { return fmt.Sprintf("%d %s", p.Kind.Status(), p.Kind) }

// sets are the parsed templates by page.
var sets = parseTemplates()

func parseTemplates() map[string]*template.Template {
	shared := template.Must(template.New("").Funcs(funcs).ParseFS(templateFiles, "templates/*.html"))
	pages, err := templateFiles.ReadDir("templates/pages")
	if err != nil {
		panic(err) // the folder is embedded
	}
	out := map[string]*template.Template{}
	for _, f := range pages {
		set := template.Must(template.Must(shared.Clone()).ParseFS(templateFiles, "templates/pages/"+f.Name()))
		out[f.Name()[:len(f.Name())-len(".html")]] = set
	}
	return out
}

// assetURL addresses a static file by its hash, so that browsers may keep it.
var assetURL = func() func(name string) string {
	hashes := map[string]string{}
	entries, err := staticFiles.ReadDir("static")
	if err != nil {
		panic(err) // the folder is embedded
	}
	for _, e := range entries {
		if body, err := staticFiles.ReadFile("static/" + e.Name()); err == nil {
			sum := sha256.Sum256(body)
			hashes[e.Name()] = hex.EncodeToString(sum[:6])
		}
	}
	return func(name string) string { return "/static/" + name + "?v=" + hashes[name] }
}()

// render writes a page whole or not at all.
func (s *server) render(w http.ResponseWriter, r *http.Request, status int, name string, v view) {
	v.Who, v.Version = auth.From(r.Context()), s.opts.Version
	var body bytes.Buffer
	if err := sets[name].ExecuteTemplate(&body, "layout", v); err != nil {
		s.opts.Logger.Error("page not rendered", "page", name, "error", err)
		http.Error(w, "The page could not be rendered; the log says why. Request "+w.Header().Get(api.HeaderRequestID), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(straight(body.Bytes())) // a client that left is no error of ours
}

// newFrame reads what every page shows around its content. Without a status
// the page still stands, and says so.
func (s *server) newFrame(ctx context.Context, nav, topic string) (Frame, error) {
	st, err := s.backend.Status(ctx)
	now := s.opts.Now()
	return Frame{Now: now, Day: now.UTC().Truncate(24 * time.Hour), Nav: nav, Topic: topic, Status: st}, err
}

// refuse shows an error as a page of its own.
func (s *server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := newProblem(w, "That did not work", err)
	if r.URL.Path == "/ui/stream" {
		http.Error(w, p.Detail, p.Kind.Status())
		return
	}
	back := wayBack(r.URL.Path)
	f, ferr := s.newFrame(r.Context(), back.nav, "")
	if ferr != nil {
		f.Now = s.opts.Now()
	}
	f.Data = back
	switch p.Kind {
	case api.NotFound, api.UnknownGroup:
		p.What = "Not found"
	case api.Forbidden:
		p.What = "Not allowed"
	}
	s.render(w, r, p.Kind.Status(), "problem", view{Frame: f, Title: p.What, Problem: p})
}

// way leads on from a page that cannot be shown.
type way struct{ URL, Word, nav string }

// wayBack leads to the list that the page's subject would be in.
func wayBack(path string) way {
	for _, w := range []way{{"/nodes", "All nodes", "nodes"}, {"/rollouts", "All rollouts", "rollouts"}, {"/bundles", "All bundles", "bundles"}, {"/events", "All events", "events"}} {
		if strings.HasPrefix(strings.TrimPrefix(path, "/ui"), w.URL+"/") {
			return w
		}
	}
	return way{"/", "Back to the overview", ""}
}

func (s *server) notFound(w http.ResponseWriter, r *http.Request) {
	s.refuse(w, r, api.Errorf(api.NotFound, "there is no page %s", r.URL.Path))
}

// newProblem says what was not done and why.
func newProblem(w http.ResponseWriter, what string, err error) *problem {
	var e *api.Error
	if !errors.As(err, &e) {
		e = api.Errorf(api.Internal, "%v", err)
	}
	id := e.RequestID
	if id == "" {
		id = w.Header().Get(api.HeaderRequestID)
	}
	return &problem{Error: e, What: what, RequestID: id}
}

func queryEscape(s string) string { return url.QueryEscape(s) }
