package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// problem is an api.Problem as huma writes errors.
type problem struct {
	api.Problem
	after string // Retry-After
}

func (p *problem) Error() string             { return p.Detail }
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) ContentType(string) string { return api.ProblemType }

// GetHeaders is called by huma for the errors of handlers.
func (p *problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.after != "" {
		h.Set("Retry-After", p.after)
	}
	return h
}

// refuse is how a handler's error reaches huma.
func refuse(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	return &problem{Problem: api.ProblemOf(err, ""), after: api.RetrySeconds(err)}
}

// named gives a problem the id of the request that it answers.
func named(ctx huma.Context, _ string, v any) (any, error) {
	if p, ok := v.(*problem); ok {
		_, w := humachi.Unwrap(ctx)
		p.RequestID = w.Header().Get(api.HeaderRequestID)
		return &p.Problem, nil
	}
	return v, nil
}

// adoptErrors makes huma's own refusals ours. Huma keeps the constructor in
// package variables, so it is done once for the process.
var adoptErrors = sync.OnceFunc(func() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError { return fromHuma(status, msg, errs) }
	huma.NewErrorWithContext = func(_ huma.Context, status int, msg string, errs ...error) huma.StatusError {
		return fromHuma(status, msg, errs)
	}
})

// fromHuma turns what huma found wrong with a request into an error of ours.
func fromHuma(status int, msg string, errs []error) *problem {
	e := api.Errorf(api.Invalid, "%s", msg)
	switch status {
	case http.StatusRequestEntityTooLarge:
		e.Kind = api.TooLarge
	case http.StatusInternalServerError:
		// The one fault that huma meets itself is a body that breaks off.
		e.Detail = "the request's body could not be read to its end"
		errs = nil
	}
	for _, err := range errs {
		var detail huma.ErrorDetailer
		field := api.FieldError{Detail: err.Error()}
		if d, ok := err.(huma.ErrorDetailer); ok {
			detail = d
			field.Path, field.Detail = detail.ErrorDetail().Location, detail.ErrorDetail().Message
		}
		e.Fields = append(e.Fields, field)
	}
	if len(e.Fields) > 0 {
		e.Detail = sentence(e.Fields)
	}
	p := &problem{Problem: api.ProblemOf(e, "")}
	if status == http.StatusUnsupportedMediaType || status == http.StatusRequestTimeout {
		p.Status = status
	}
	return p
}

// sentence names the first few wrong fields.
func sentence(fields []api.FieldError) string {
	var parts []string
	for _, f := range fields[:min(len(fields), 3)] {
		parts = append(parts, strings.TrimPrefix(f.Path+": "+f.Detail, ": "))
	}
	if more := len(fields) - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, "; ")
}
