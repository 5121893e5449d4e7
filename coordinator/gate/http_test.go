package gate_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/gate"
)

func TestHTTP_TheStatusAndTheValueDecide(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	answer := func(path string, status int, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
	}
	answer("/ok", 200, `{"status":"ok","n":3,"big":12345678901234567890,"f":1.50,"on":true,"none":null,"db":{"up":[{"name":"a","lag":0}]},"a b":"x"}`)
	answer("/text", 200, "fine")
	answer("/made", 201, `{"status":"ok"}`)
	answer("/down", 503, `{"status":"ok"}`)
	mux.Handle("/moved", http.RedirectHandler("/ok", http.StatusFound))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	c := gate.New(gate.Config{Loopback: true})

	get := func(path, jsonPath, equals string, status ...int) api.GateSpec {
		return api.GateSpec{HTTP: &api.HTTPGate{URL: server.URL + path, JSONPath: jsonPath, Equals: equals, Status: status}}
	}
	wants(t, c, get("/text", "", ""), true, "answered 200 OK")
	wants(t, c, get("/down", "", ""), false, "answered 503 Service Unavailable, want [200]")
	wants(t, c, get("/down", "", "", 503), true, "answered 503")
	wants(t, c, get("/made", "$.status", "ok"), false, "answered 201 Created, want [200]")
	wants(t, c, get("/made", "$.status", "ok", 200, 201), true, `$.status is "ok"`)
	wants(t, c, get("/ok", "$.status", "ok"), true, `$.status is "ok"`)
	wants(t, c, get("/ok", "$.status", "OK"), false, `$.status is "ok", want "OK"`)
	wants(t, c, get("/ok", "$.n", "3"), true, "")
	wants(t, c, get("/ok", "$.n", "3.0"), true, "")
	wants(t, c, get("/ok", "$.n", "4"), false, `is "3", want "4"`)
	wants(t, c, get("/ok", "$.f", "1.5"), true, "")
	// Past what a float can tell apart.
	wants(t, c, get("/ok", "$.big", "12345678901234567891"), false, "")
	wants(t, c, get("/ok", "$.big", "12345678901234567890"), true, "")
	wants(t, c, get("/ok", "$.on", "true"), true, "")
	wants(t, c, get("/ok", "$.none", "null"), true, "")
	wants(t, c, get("/ok", "$.db.up[0].lag", "0"), true, "")
	wants(t, c, get("/ok", "$['a b']", "x"), true, "")
	wants(t, c, get("/ok", "$.db.up[1].lag", "0"), false, "nothing at $.db.up[1].lag")
	wants(t, c, get("/ok", "$.db", `{"up":[{"lag":0,"name":"a"}]}`), true, "")
	wants(t, c, get("/text", "$.status", "ok"), false, "not the JSON that is wanted")
	wants(t, c, get("/moved", "$.status", "ok"), true, "")
	wants(t, c, get("/moved", "", "", 302), true, "answered 302 Found")
}

func TestHTTP_WhatIsNotAllowedIsNotAsked(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{} }))
	t.Cleanup(server.Close)
	g := api.GateSpec{HTTP: &api.HTTPGate{URL: server.URL}}

	c := gate.New(gate.Config{Allow: []string{"example.com"}})
	wants(t, c, g, false, "is not among the hosts that this coordinator may ask: want one of gates.allow in its configuration (example.com)")
	wantField(t, c.Validate(t.Context(), g), "http.url", "is not among the hosts")
	select {
	case <-asked:
		t.Error("it was asked")
	default:
	}
}
