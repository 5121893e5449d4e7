package httpapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
	"github.com/lockkeeper/lockkeeper/coordinator/door"
)

// asked is one request, with its body of known length unless it is to be
// chunked, and of JSON's type in plain words unless in others.
type asked struct {
	method, target, body string
	chunked              bool
	words                string
}

// told is everything of an answer that a client goes by.
func (a asked) told(t *testing.T, h http.Handler, f *fake) string {
	t.Helper()
	f.calls = nil
	r := httptest.NewRequest(a.method, "http://localhost"+Root+a.target, strings.NewReader(a.body))
	if a.chunked {
		r.ContentLength = -1
	}
	if a.body != "" {
		r.Header.Set("Content-Type", cmp.Or(a.words, "application/json"))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body, _ := io.ReadAll(w.Result().Body)
	text := strings.ReplaceAll(string(body), w.Header().Get(api.HeaderRequestID), "ID")
	var value any
	if text != "" {
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Errorf("%s %s: %q: %v", a.method, a.target, text, err)
		}
	}
	header := w.Header().Clone()
	header.Del(api.HeaderRequestID)
	header.Del("Content-Length")
	return fmt.Sprint(w.Code, header, f.calls, value)
}

// The short way for the requests that come by the thousand must not be told
// from the long one, whatever is asked.
func TestHot_AnswersAsTheRegisteredOperationDoes(t *testing.T) {
	const acquire, confirm, hold = "PUT", "POST", "/groups/web/holds/n1"
	long := strings.Repeat("x", plainBody)
	requests := []asked{
		{acquire, hold, `{"instance":"i","request":"q"}`, false, ""},
		{acquire, hold, `{"instance":"i","request":"q"}`, true, ""},
		{acquire, hold, `{"instance":"i","request":"q"}`, false, "application/json; charset=utf-8"},
		{acquire, hold, `{"instance":"i","request":"q"}`, false, "APPLICATION/JSON"},
		{acquire, hold, `{"instance":"i","request":"q"}`, false, "application/json;q"},
		{acquire, hold, `{"instance":"i","request":"q","boot_id":"b","reason":"new kernel"}`, false, ""},
		{acquire, hold, `{"instance":"i","request":"q","reason":"<b>&\"'"}`, false, ""},
		{acquire, hold, `{"instance":"i","request":"q","reason":"Übung"}`, false, ""},
		{acquire, hold, `{"instance":"i","request":"q","reason":"a\u0000b\n"}`, false, ""},
		{acquire, hold, ` { "instance" : "i" , "request" : "q" } `, false, ""},
		{acquire, hold, `{"instance":"i"}`, false, ""},
		{acquire, hold, `{"instance":"","request":""}`, false, ""},
		{acquire, hold, `{"Instance":"i","request":"q"}`, false, ""},
		{acquire, hold, `{"instance":"i","request":"q","more":"x"}`, false, ""},
		{acquire, hold, `{"instance":"i","instance":"j","request":"q"}`, false, ""},
		{acquire, hold, `{"instance":7,"request":"q"}`, false, ""},
		{acquire, hold, `{"instance":null,"request":"q"}`, false, ""},
		{acquire, hold, `{"instance":"i","request":"q"}{}`, false, ""},
		{acquire, hold, `{"instance":"i","request":"q"`, false, ""},
		{acquire, hold, `{"instance":"i" "request":"q"}`, false, ""},
		{acquire, hold, `{,"instance":"i","request":"q"}`, false, ""},
		{acquire, hold, `{"instance":"i","request":"q",}`, false, ""},
		{acquire, hold, `{"instance":"` + long + `","request":"q"}`, false, ""},
		{acquire, hold, `{}`, false, ""},
		{acquire, hold, `[]`, false, ""},
		{acquire, hold, ``, false, ""},
		{acquire, hold + "?wait=30s", `{"instance":"i","request":"q"}`, false, ""},
		{acquire, hold + "?wait=1m30s", `{"instance":"i","request":"q"}`, false, ""},
		{acquire, hold + "?wait=", `{"instance":"i","request":"q"}`, false, ""},
		{acquire, hold + "?wait=30", `{"instance":"i","request":"q"}`, false, ""},
		{acquire, hold + "?wait=26m", `{"instance":"i","request":"q"}`, false, ""},
		{acquire, hold + "?wait=-1s", `{"instance":"i","request":"q"}`, false, ""},
		{acquire, hold + "?wait=1s&wait=2s", `{"instance":"i","request":"q"}`, false, ""},
		{acquire, hold + "?wait=%31s", `{"instance":"i","request":"q"}`, false, ""},
		{acquire, hold + "?Wait=1s", `{"instance":"i","request":"q"}`, false, ""},
		{acquire, hold + "?other=1", `{"instance":"i","request":"q"}`, false, ""},
		{acquire, "/groups/web/holds/a%2Fb", `{"instance":"i","request":"q"}`, false, ""},
		{acquire, "/groups/we%20b/holds/n1", `{"instance":"i","request":"q"}`, false, ""},
		{acquire, "/groups/web/holds/..", `{"instance":"i","request":"q"}`, false, ""},
		{acquire, "/groups/web/holds/n1/", `{"instance":"i","request":"q"}`, false, ""},
		{acquire, "/groups//holds/n1", `{"instance":"i","request":"q"}`, false, ""},
		{acquire, "/groups/web/holds/", `{"instance":"i","request":"q"}`, false, ""},
		{acquire, "/groups/web/holds", `{"instance":"i","request":"q"}`, false, ""},
		{acquire, "/groups/web/holds/n1/confirm", `{"instance":"i","request":"q"}`, false, ""},
		{confirm, hold + "/confirm", `{"fence":7,"instance":"i","boot_id":"b"}`, false, ""},
		{confirm, hold + "/confirm", `{"instance":"i","boot_id":"b","rollout":"r","fence":12345678}`, false, ""},
		{confirm, hold + "/confirm", `{"fence":7,"fence":8,"instance":"i","boot_id":"b"}`, false, ""},
		{confirm, hold + "/confirm", `{"fence":"7","instance":"i","boot_id":"b"}`, false, ""},
		{confirm, hold + "/confirm", `{"fence":7.0,"instance":"i","boot_id":"b"}`, false, ""},
		{confirm, hold + "/confirm", `{"fence":07,"instance":"i","boot_id":"b"}`, false, ""},
		{confirm, hold + "/confirm", `{"fence":-7,"instance":"i","boot_id":"b"}`, false, ""},
		{confirm, hold + "/confirm", `{"fence":,"instance":"i","boot_id":"b"}`, false, ""},
		{confirm, hold + "/confirm", `{"fence":99999999999999999999,"instance":"i","boot_id":"b"}`, false, ""},
		{confirm, hold + "/confirm", `{"fence":7,"instance":"i"}`, false, ""},
		{confirm, hold + "/confirm", `{"instance":"i","boot_id":"b"}`, false, ""},
		{confirm, hold + "/confirm?wait=1s", `{"fence":7,"instance":"i","boot_id":"b"}`, false, ""},
		{confirm, hold + "/revoke", `{"fence":7,"name":"n1","reason":"r"}`, false, ""},
		{"DELETE", hold + "?fence=7&instance=i", "", false, ""},
		{"DELETE", hold + "?instance=i&fence=7", "", false, ""},
		{"DELETE", hold + "?fence=7", "", false, ""},
		{"DELETE", hold + "?fence=7&instance=", "", false, ""},
		{"DELETE", hold + "?fence=7&instance=a%2Bb", "", false, ""},
		{"DELETE", hold + "?fence=7&instance=a+b", "", false, ""},
		{"DELETE", hold + "?fence=x&instance=i", "", false, ""},
		{"DELETE", hold + "?fence=7&instance=i&more=1", "", false, ""},
		{"DELETE", hold + "?instance=i", "", false, ""},
		{"DELETE", hold, "", false, ""},
		{"DELETE", hold + "?fence=7&instance=i", "{}", false, ""},
		{"GET", hold, "", false, ""},
		{"PATCH", hold, "{}", false, ""},
	}
	refusal := api.Errorf(api.Full, "2 of 2 slots are held by <others> & more")
	refusal.Blockers, refusal.Place, refusal.RetryAfter = []api.Blocker{{Kind: api.Full, Detail: "2 of 2"}}, 3, 10e9
	f := &fake{}
	_, all := register(f, Options{})
	hot := door.Wrap(New(f, Options{}), door.Options{Loopback: true})
	registered := door.Wrap(all, door.Options{Loopback: true})
	for _, err := range []error{nil, refusal, fmt.Errorf("what nobody may read")} {
		f.err = err
		for _, r := range requests {
			if got, want := r.told(t, hot, f), r.told(t, registered, f); got != want {
				t.Errorf("%s %s %s (%v):\n%s\nwant\n%s", r.method, r.target, r.body, err, got, want)
			}
		}
	}
}

// A client of ours goes the short way: what it writes is looked for here.
func TestHot_TakesWhatTheClientWrites(t *testing.T) {
	f := &fake{}
	s, all := register(f, Options{})
	long := 0
	srv := httptest.NewServer(door.Wrap(s.hot(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		long++
		all.ServeHTTP(w, r)
	})), door.Options{Loopback: true}))
	defer srv.Close()
	c, err := client.New(client.Config{Servers: []string{srv.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	if _, err := c.Acquire(ctx, "web", "n-1.example", api.AcquireRequest{Instance: "8f14e45f", Request: "q", BootID: "2f1d-7f5e", Reason: "rollout 01J9ZQ"}, 90*time.Second); err != nil {
		t.Error(err)
	}
	if _, err := c.Confirm(ctx, "web", "n-1.example", api.ConfirmRequest{Fence: 7, Instance: "8f14e45f", BootID: "2f1d-7f5e"}); err != nil {
		t.Error(err)
	}
	if err := c.Release(ctx, "web", "n-1.example", 7, "8f14e45f"); err != nil {
		t.Error(err)
	}
	if long != 0 || len(f.calls) != 3 {
		t.Errorf("%d of the requests %v went the long way", long, f.calls)
	}
}

func TestHot_IsCountedUnderItsRoute(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := door.NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{}
	h := door.Wrap(New(f, Options{}), door.Options{Loopback: true, Metrics: m})
	asked{"PUT", "/groups/web/holds/n1", `{"instance":"i","request":"q"}`, false, ""}.told(t, h, f)
	asked{"POST", "/groups/web/holds/n1/confirm", `{"fence":7,"instance":"i","boot_id":"b"}`, false, ""}.told(t, h, f)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, l := range metric.GetLabel() {
				if l.GetName() == "route" && family.GetName() == "lockkeeper_http_requests_total" {
					routes = append(routes, l.GetValue())
				}
			}
		}
	}
	slices.Sort(routes)
	if got := strings.Join(routes, " "); got != holdRoute+" "+holdRoute+"/confirm" {
		t.Errorf("counted under %s", got)
	}
}
