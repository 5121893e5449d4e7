package httpapi

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// ask sends one request to a handler over the fake.
func ask(t *testing.T, f *fake, method, target, body string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	w.Header().Set(api.HeaderRequestID, "req-1")
	New(f, Options{}).ServeHTTP(w, r)
	return w.Result()
}

// refusal reads a problem and checks what every problem must have.
func refusal(t *testing.T, resp *http.Response) api.Problem {
	t.Helper()
	var p api.Problem
	b, _ := io.ReadAll(resp.Body)
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatalf("status %d, not a problem: %s", resp.StatusCode, b)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q", got)
	}
	if p.Status != resp.StatusCode || p.Type != "/problems/"+string(p.Kind) || p.Title == "" || p.Detail == "" || p.RequestID != "req-1" {
		t.Errorf("problem %s with status %d", b, resp.StatusCode)
	}
	return p
}

func TestBody_AnUnknownMemberIsRefusedWithItsPlace(t *testing.T) {
	f := &fake{}
	for body, place := range map[string]string{
		`{"slots":2,"sluts":3}`:                              "body.sluts",
		`{"slots":2,"limits":[{"by":"zone","max":1,"x":1}]}`: "body.limits[0].x",
		`{"slots":true}`:                                     "body.slots",
		`{}`:                                                 "body",
		`{"slots":2`:                                         "body",
		`{"slots":2} {"slots":3}`:                            "body",
	} {
		p := refusal(t, ask(t, f, "PUT", "/api/v1/groups/web", body))
		if p.Status != 400 || p.Kind != api.Invalid || len(p.Errors) == 0 || p.Errors[0].Path != place {
			t.Errorf("%s: %+v", body, p)
		}
	}
	if f.last() != "" {
		t.Errorf("the service was asked: %s", f.last())
	}
}
