package httpapi

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Root is where the API begins.
const Root = "/api/v1"

// maxJSON bounds a JSON body, maxBundle a bundle, in bytes. The service bounds
// bundles exactly; what is on top lets it say so.
const (
	maxJSON   = 1 << 20
	maxBundle = 1<<20 + 64<<10
	maxLink   = 2 << 20 // with a manifest that is written with more space than need be
)

// Options of New.
type Options struct {
	Version string       // of the program, in the OpenAPI document
	Logger  *slog.Logger // nil discards
}

// service holds what the handlers share.
type service struct {
	Backend
	api huma.API
	log *slog.Logger
}

// New is the handler of everything below Root. It must be reached with the
// path as the client sent it: no cleaning, no redirects.
func New(b Backend, o Options) http.Handler {
	s, mux := register(b, o)
	return s.hot(mux)
}

// register makes a handler of every operation as it is described.
func register(b Backend, o Options) (*service, http.Handler) {
	adoptErrors()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	mux := chi.NewMux()
	mux.Use(escapedPath)
	s := &service{Backend: b, log: o.Logger, api: humachi.New(mux, config(o.Version))}
	s.fleet()
	s.groups()
	s.holds()
	s.nodes()
	s.bundles()
	s.rollouts()
	s.tokens()
	s.events()
	s.snapshots()
	s.members()

	document, err := json.Marshal(s.api.OpenAPI())
	if err != nil {
		panic(err) // the document is made of this package's own types
	}
	mux.Get(Root+"/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
		_, _ = w.Write(document)
	})
	mux.NotFound(func(w http.ResponseWriter, r *http.Request) {
		api.WriteProblem(w, api.Errorf(api.NotFound, "there is no %s: %s/openapi.json lists what there is", r.URL.EscapedPath(), Root))
	})
	mux.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) { wrongMethod(mux, w, r) })
	return s, mux
}

// config is huma without its own pages, links and schema members.
func config(version string) huma.Config {
	if version == "" {
		version = "dev"
	}
	c := huma.DefaultConfig("Lockkeeper", version)
	c.CreateHooks = nil
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.RejectUnknownQueryParameters = true
	c.Transformers = []huma.Transformer{named}
	c.Components.Schemas.RegisterTypeAlias(reflect.TypeFor[api.Slots](), reflect.TypeFor[slots]())
	c.Components.Schemas.RegisterTypeAlias(reflect.TypeFor[problem](), reflect.TypeFor[api.Problem]())
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"bearer": {
		Type: "http", Scheme: "bearer", Description: "A token of `lockkeeper token create`. On loopback none is needed.",
	}}
	c.Security = []map[string][]string{{"bearer": {}}, {}}
	return c
}

// slots is how api.Slots looks in JSON.
type slots struct{}

// Schema implements huma.SchemaProvider.
func (slots) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Description: `A number of nodes (2), or a percentage of the members ("5%").`,
		OneOf: []*huma.Schema{
			{Type: huma.TypeInteger},
			{Type: huma.TypeString, MinLength: new(1)},
		},
	}
}

// on registers an operation: what is registered here has one error mapping and
// one bound for bodies.
func on[I, O any](s *service, op huma.Operation, handle func(context.Context, *I) (*O, error)) {
	op.Path = Root + op.Path
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = maxJSON + 1
	}
	// The door bounds the time for bodies and lifts the bound when they are
	// read. Huma's deadline would stay, and end a long poll.
	op.BodyReadTimeout = -1
	op.OperationID = operationID(op.Summary)
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		return out, nil
	})
}

// failed is the error as answered; what is a fault of ours is logged in full.
func (s *service) failed(ctx context.Context, err error) error {
	answer := refuse(err)
	if answer.Kind == api.Internal {
		s.log.ErrorContext(ctx, "the request failed", "request_id", api.RequestID(ctx), "err", err)
	}
	return answer
}

func operationID(summary string) string {
	return strings.ReplaceAll(strings.ToLower(summary), " ", "-")
}

// get, put, post, patch and del name an operation.
func get(path, summary string) huma.Operation {
	return huma.Operation{Method: http.MethodGet, Path: path, Summary: summary, Tags: tag(path)}
}

func put(path, summary string) huma.Operation {
	return huma.Operation{Method: http.MethodPut, Path: path, Summary: summary, Tags: tag(path)}
}

func post(path, summary string) huma.Operation {
	return huma.Operation{Method: http.MethodPost, Path: path, Summary: summary, Tags: tag(path)}
}

func patch(path, summary string) huma.Operation {
	return huma.Operation{Method: http.MethodPatch, Path: path, Summary: summary, Tags: tag(path)}
}

func del(path, summary string) huma.Operation {
	return huma.Operation{Method: http.MethodDelete, Path: path, Summary: summary, Tags: tag(path)}
}

// tag groups operations by the first segment of their path.
func tag(path string) []string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return []string{first}
}

// body is an answer with a body.
type body[T any] struct{ Body T }

// tagged is an answer whose object has a revision, for If-Match.
type tagged[T any] struct {
	Status int
	ETag   string `header:"ETag" doc:"The object's revision, for If-Match"`
	Body   T
}

// none is an answer without a body, 204.
type none struct{}

func answer[T any](v T, err error) (*body[T], error) { return &body[T]{v}, err }
