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

func TestBody_AnAgentAheadByAVersionMayReportMore(t *testing.T) {
	f := &fake{}
	resp := ask(t, f, "POST", "/api/v1/nodes/n/poll", `{"instance":"i","boot_id":"b","new":1,"report":{"phase":"idle","newer":2}}`)
	if resp.StatusCode != 200 || !strings.HasPrefix(f.last(), "Poll[n i idle") {
		t.Errorf("status %d, the service saw %s", resp.StatusCode, f.last())
	}
	if p := refusal(t, ask(t, f, "POST", "/api/v1/nodes/n/poll", `{"instance":1}`)); p.Kind != api.Invalid || p.Status != 400 {
		t.Errorf("a wrong type: %+v", p)
	}
}

func TestQuery_WhatIsNotKnownOrNotInRangeIsRefusedWithItsPlace(t *testing.T) {
	f := &fake{}
	for target, place := range map[string]string{
		"/status?x=1":                      "query.x",
		"/nodes?stat=failed":               "query.stat",
		"/nodes?limit=0":                   "query.limit",
		"/nodes?limit=1001":                "query.limit",
		"/nodes?limit=ten":                 "query.limit",
		"/events?after=-1":                 "query.after",
		"/events?last=perhaps":             "query.last",
		"/bundles/abc":                     "path.sha256",
		"/groups/web/holds/n?fence=1&f=2":  "query.f",
		"/groups/web/holds/n?instance=i":   "query.fence",
		"/groups/web/holds/n?fence=second": "query.fence",
		"/freeze":                          "query.id",
	} {
		method := "GET"
		if strings.Contains(target, "/holds/") || target == "/freeze" {
			method = "DELETE"
		}
		p := refusal(t, ask(t, f, method, "/api/v1"+target, ""))
		if p.Status != 400 || p.Kind != api.Invalid || len(p.Errors) != 1 || p.Errors[0].Path != place || p.Errors[0].Detail == "" {
			t.Errorf("%s: %+v", target, p)
		}
	}
	for _, wait := range []string{"30", "-1s", "26m", "soon"} {
		p := refusal(t, ask(t, f, "PUT", "/api/v1/groups/web/holds/n?wait="+wait, `{"instance":"i","request":"r"}`))
		if p.Status != 400 || len(p.Errors) != 1 || p.Errors[0].Path != "query.wait" {
			t.Errorf("wait=%s: %+v", wait, p)
		}
	}
	if f.last() != "" {
		t.Errorf("the service was asked: %s", f.last())
	}
}

func TestPath_WhatIsNotThereAndWhatHasNoSuchMethod(t *testing.T) {
	f := &fake{}
	for _, path := range []string{"/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v1/groups/web/", "/api/v1/schemas/Group.json", "/api/v1/docs", "/docs", "/api/v1/openapi.yaml"} {
		if p := refusal(t, ask(t, f, "GET", path, "")); p.Status != 404 || p.Kind != api.NotFound {
			t.Errorf("%s: %+v", path, p)
		}
	}
	resp := ask(t, f, "POST", "/api/v1/groups/a%2Fb", "{}")
	if p := refusal(t, resp); p.Status != 405 || resp.Header.Get("Allow") != "GET, PUT, DELETE" {
		t.Errorf("status %d, Allow %q", p.Status, resp.Header.Get("Allow"))
	}
	if p := refusal(t, ask(t, f, "POST", "/api/v1/rollouts/r/explode", "")); p.Status != 400 || p.Errors[0].Path != "path.action" {
		t.Errorf("an unknown action: %+v", p)
	}
}

func TestRevision_IsTheEntityTagAndWhatIfMatchTakes(t *testing.T) {
	f := &fake{}
	if got := ask(t, f, "GET", "/api/v1/groups/web", "").Header.Get("ETag"); got != `"17"` {
		t.Errorf("ETag %s", got)
	}
	for header, want := range map[string]string{`"17"`: " 17]", "17": " 17]", "*": " *]", "": " ]"} {
		resp := ask(t, f, "PUT", "/api/v1/groups/web", `{"slots":"10%"}`, "If-Match", header)
		if !strings.HasSuffix(f.last(), want) || (resp.StatusCode == 201) != (header == "*") {
			t.Errorf("If-Match %s: status %d, the service saw %s", header, resp.StatusCode, f.last())
		}
	}
	if resp := ask(t, f, "PUT", "/api/v1/groups/new", `{"slots":1}`); resp.StatusCode != 201 {
		t.Errorf("created without If-Match: status %d", resp.StatusCode)
	}
	for _, header := range []string{`W/"17"`, `"17", "18"`, `"x"`, "-1"} {
		if p := refusal(t, ask(t, f, "DELETE", "/api/v1/groups/web", "", "If-Match", header)); p.Status != 400 || p.Errors[0].Path != "header.If-Match" {
			t.Errorf("If-Match %s: %+v", header, p)
		}
	}
}

func TestStatus_CreatedDoneAgainAndGone(t *testing.T) {
	f := &fake{}
	rollout := `{"bundle":"` + digest + `"}`
	for _, c := range []struct {
		method, path, body string
		header             []string
		want               int
	}{
		{"POST", "/rollouts", rollout, []string{"Idempotency-Key", "k"}, 201},
		{"POST", "/rollouts", rollout, []string{"Idempotency-Key", "again"}, 200},
		{"POST", "/plans", rollout, nil, 200},
		{"POST", "/tokens", `{"role":"viewer"}`, nil, 201},
		{"PUT", "/freeze", `{"reason":"r"}`, nil, 200},
		{"DELETE", "/freeze?id=f1", "", nil, 204},
		{"DELETE", "/groups/web/holds/n?fence=1", "", nil, 204},
		{"POST", "/rollouts/r1/pause", "", nil, 200},
	} {
		resp := ask(t, f, c.method, "/api/v1"+c.path, c.body, c.header...)
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != c.want || (c.want == 204) != (len(b) == 0) || strings.Contains(string(b), "$schema") || resp.Header.Get("Link") != "" {
			t.Errorf("%s %s: status %d, %s", c.method, c.path, resp.StatusCode, b)
		}
	}
}

func TestRefusal_CarriesBlockersPlaceAndRetryAfter(t *testing.T) {
	f := &fake{err: &api.Error{Kind: api.Full, Detail: "2 of 2", Place: 3, RetryAfter: 1500e6, Blockers: []api.Blocker{{Kind: api.Full, Detail: "2 of 2"}}}}
	resp := ask(t, f, "PUT", "/api/v1/groups/web/holds/n", `{"instance":"i","request":"r"}`)
	if p := refusal(t, resp); p.Status != 423 || p.Place != 3 || len(p.Blockers) != 1 || resp.Header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After %s, %+v", resp.Header.Get("Retry-After"), p)
	}
}

func TestBundle_UploadsAreCheckedBeforeTheServiceSeesThem(t *testing.T) {
	f := &fake{}
	const mime = "application/vnd.lockkeeper.bundle+tar"
	for _, c := range []struct {
		why, body string
		header    []string
		want      int
	}{
		{"no type", "x", []string{"Content-Type", ""}, 415},
		{"JSON", "{}", []string{"Content-Type", "application/json"}, 415},
		{"a digest of another kind", "x", []string{"Content-Type", mime, "Content-Digest", "md5=:AAAA:"}, 400},
		{"a digest without colons", "x", []string{"Content-Type", mime, "Content-Digest", "sha-256=AAAA"}, 400},
		{"a digest too short", "x", []string{"Content-Type", mime, "Content-Digest", "sha-256=:AAAA:"}, 400},
		{"nothing", "", []string{"Content-Type", mime}, 400},
		{"too large", strings.Repeat("x", maxBundle+1), []string{"Content-Type", mime}, 413},
	} {
		if p := refusal(t, ask(t, f, "POST", "/api/v1/bundles", c.body, c.header...)); p.Status != c.want {
			t.Errorf("%s: %+v", c.why, p)
		}
	}
	if f.last() != "" {
		t.Errorf("the service was asked: %s", f.last())
	}
	sum := `sha-512=:YQ==:, sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:`
	if resp := ask(t, f, "POST", "/api/v1/bundles", "hello", "Content-Type", "application/octet-stream", "Content-Digest", sum); resp.StatusCode != 201 || f.last() != "CreateBundle[5 "+digest+"]" {
		t.Errorf("status %d, the service saw %s", resp.StatusCode, f.last())
	}
	big := `{"slots":1,"limits":[{"by":"` + strings.Repeat("x", maxJSON) + `","max":1}]}`
	if p := refusal(t, ask(t, f, "PUT", "/api/v1/groups/web", big)); p.Status != 413 || p.Kind != api.TooLarge {
		t.Errorf("a large JSON body: %+v", p)
	}
}

func TestOpenAPI_IsWholeAndOurOwn(t *testing.T) {
	resp := ask(t, &fake{}, "GET", "/api/v1/openapi.json", "")
	var doc struct {
		OpenAPI    string                               `json:"openapi"`
		Paths      map[string]map[string]map[string]any `json:"paths"`
		Components struct{ Schemas map[string]any }
	}
	text, _ := io.ReadAll(resp.Body)
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	ids := map[any]bool{}
	operations := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			operations++
			if ids[op["operationId"]] || op["summary"] == "" || op["responses"] == nil {
				t.Errorf("%s %s: %v", method, path, op["operationId"])
			}
			ids[op["operationId"]] = true
		}
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || operations < 38 || doc.Components.Schemas["Problem"] == nil {
		t.Errorf("version %s, %d operations, schemas %d", doc.OpenAPI, operations, len(doc.Components.Schemas))
	}
	if strings.Contains(string(text), "$schema") || strings.Contains(string(text), `"422"`) {
		t.Error("the document speaks of what is not answered")
	}
}

func TestEvents_OnlyTheLastEventOfARevisionCarriesItsID(t *testing.T) {
	got := string(encode([]api.Event{{Revision: 5, Seq: 1}, {Revision: 5, Seq: 2}, {Revision: 6}}))
	parts := strings.Split(strings.TrimSuffix(got, "\n\n"), "\n\n")
	if len(parts) != 3 || strings.HasPrefix(parts[0], "id:") || !strings.HasPrefix(parts[1], "id: 5\ndata: {") || !strings.HasPrefix(parts[2], "id: 6\ndata: {") {
		t.Errorf("got %q", got)
	}
}

func TestEvents_LastEventIDGoesBeforeAfter(t *testing.T) {
	f := &fake{events: make(chan api.Event)}
	close(f.events)
	resp := ask(t, f, "GET", "/api/v1/events/stream?after=3", "", "Last-Event-ID", "9")
	if f.last() != "WatchEvents[9]" || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("the service saw %s, type %s", f.last(), resp.Header.Get("Content-Type"))
	}
	if p := refusal(t, ask(t, f, "GET", "/api/v1/events/stream", "", "Last-Event-ID", "x")); p.Status != 400 {
		t.Errorf("%+v", p)
	}
}
