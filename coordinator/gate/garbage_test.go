package gate_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/ask"
	"github.com/lockkeeper/lockkeeper/coordinator/gate"
)

// says serves the same bytes to whoever connects, whatever is asked. Then the
// connection is closed, or with hang kept open.
func says(t *testing.T, text string, hang bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				// The question first: a close with unread bytes is a reset.
				_, _ = conn.Read(make([]byte, 64<<10))
				_, _ = io.WriteString(conn, text)
				if hang {
					_, _ = conn.Read(make([]byte, 1))
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func page(status, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(body), body)
}

const (
	vector  = `{"status":"success","data":{"resultType":"vector","result":%s}}`
	passing = `[{"metric":{},"value":[1,"1"]}]`
)

// TestCheck_WhatIsNoAnswerDoesNotPass asks each kind of gate of servers that say
// everything but what they should. The gates are such that any sound answer,
// also an empty one where that is good news, would pass.
func TestCheck_WhatIsNoAnswerDoesNotPass(t *testing.T) {
	t.Parallel()
	kinds := map[string]func(url string) api.GateSpec{
		"promql": func(url string) api.GateSpec {
			return api.GateSpec{PromQL: &api.PromQLGate{URL: url, Query: "up", Compare: ">=", Value: 0}}
		},
		"alertmanager": func(url string) api.GateSpec { return api.GateSpec{Alertmanager: &api.AlertmanagerGate{URL: url}} },
		"http": func(url string) api.GateSpec {
			return api.GateSpec{HTTP: &api.HTTPGate{URL: url, JSONPath: "$.status", Equals: "ok"}}
		},
	}
	everywhere := map[string]string{
		"nothing":         "",
		"no HTTP":         "SSH-2.0-OpenSSH_9.2\r\n",
		"bytes":           "\x00\xff\x7f\x80\r\n\r\n",
		"empty body":      page("200 OK", ""),
		"white space":     page("200 OK", " \n"),
		"null":            page("200 OK", "null"),
		"number":          page("200 OK", "1"),
		"HTML":            page("200 OK", "<html>ok</html>"),
		"cut off":         page("200 OK", `{"status":"ok"`),
		"short":           "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"status\":\"ok\"}",
		"two values":      page("200 OK", `{"status":"ok"}{"status":"ok"}`),
		"trailing":        page("200 OK", `{"status":"ok"}]`),
		"500":             page("500 Internal Server Error", `{"status":"ok"}`),
		"404":             page("404 Not Found", `{"status":"ok"}`),
		"401":             page("401 Unauthorized", `{"status":"ok"}`),
		"no content":      "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
		"huge header":     "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
		"deep":            page("200 OK", strings.Repeat("[", 100_000)),
		"oversized":       page("200 OK", `{"status":"ok","x":"`+strings.Repeat("x", 5<<20)+`"}`),
		"loop":            "HTTP/1.1 302 Found\r\nLocation: /\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
		"elsewhere":       "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
		"other scheme":    "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
		"with a password": "HTTP/1.1 302 Found\r\nLocation: http://u:p@127.0.0.1/\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
		"no location":     "HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
	}
	of := map[string]map[string]string{
		"promql": {
			"no status":         page("200 OK", `{"data":{"resultType":"vector","result":`+passing+`}}`),
			"an error of 200":   page("200 OK", `{"status":"error","error":"no","data":{"resultType":"vector","result":`+passing+`}}`),
			"of 503":            page("503 Service Unavailable", `{"status":"error","errorType":"timeout","error":"query timed out"}`),
			"no data":           page("200 OK", `{"status":"success"}`),
			"no result":         page("200 OK", `{"status":"success","data":{"resultType":"vector"}}`),
			"null result":       page("200 OK", fmt.Sprintf(vector, "null")),
			"empty":             page("200 OK", fmt.Sprintf(vector, "[]")),
			"unknown type":      page("200 OK", `{"status":"success","data":{"resultType":"tensor","result":`+passing+`}}`),
			"NaN":               page("200 OK", fmt.Sprintf(vector, `[{"metric":{},"value":[1,"NaN"]}]`)),
			"one NaN of two":    page("200 OK", fmt.Sprintf(vector, `[{"metric":{},"value":[1,"1"]},{"metric":{},"value":[1,"NaN"]}]`)),
			"no number":         page("200 OK", fmt.Sprintf(vector, `[{"metric":{},"value":[1,"many"]}]`)),
			"a histogram":       page("200 OK", fmt.Sprintf(vector, `[{"metric":{},"histogram":[1,{}]}]`)),
			"a bare number":     page("200 OK", fmt.Sprintf(vector, `[{"metric":{},"value":[1,1]}]`)),
			"no pair":           page("200 OK", fmt.Sprintf(vector, `[{"metric":{},"value":["1"]}]`)),
			"partial, a Thanos": page("200 OK", `{"status":"success","warnings":["no store matched"],"data":{"resultType":"vector","result":`+passing+`}}`),
		},
		"alertmanager": {
			"an object":     page("200 OK", "{}"),
			"not its alert": page("200 OK", `[{"alert":"x"}]`),
			"texts":         page("200 OK", `["x"]`),
			// No alert, and no Alertmanager: its status is asked too.
			"another's empty list": page("200 OK", "[]"),
		},
		"http": {
			"another value": page("200 OK", `{"status":"down"}`),
			"elsewhere":     page("200 OK", `{"state":"ok"}`),
			"in a list":     page("200 OK", `[{"status":"ok"}]`),
			"a list":        page("200 OK", `{"status":["ok"]}`),
			"null there":    page("200 OK", `{"status":null}`),
		},
	}
	c := gate.New(gate.Config{Loopback: true, Settle: -1})
	for kind, make := range kinds {
		check := func(name, text string, hang bool) {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				g := make(says(t, text, hang))
				g.Timeout = "10s"
				if hang {
					g.Timeout = "200ms"
				}
				a := c.Check(t.Context(), g)
				if a.Passes {
					t.Errorf("passes: %s", a.Detail)
				}
				if a.Detail == "" || len(a.Detail) > 600 || strings.ContainsAny(a.Detail, "\n\r\x00") {
					t.Errorf("detail %q: want one line that says why", a.Detail)
				}
				if hang && !strings.Contains(a.Detail, "no answer within 200ms") {
					t.Errorf("detail %q: want that there was no answer in time", a.Detail)
				}
			})
		}
		for name, text := range everywhere {
			check(name, text, false)
		}
		for name, text := range of[kind] {
			check(name, text, false)
		}
		check("silent", "", true)
		check("hanging in the middle", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"status\":", true)
	}
}

func TestCheck_ADripOfBytesIsNoAnswer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Read(make([]byte, 64<<10))
		for _, b := range []byte("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + strings.Repeat("x", 1000)) {
			if _, err := conn.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	c := gate.New(gate.Config{Prometheus: ask.Service{URL: "http://" + l.Addr().String()}})
	g := promQL("up", ">", 0)
	g.Timeout = "300ms"
	began := time.Now()
	wants(t, c, g, false, "no answer within 300ms")
	if took := time.Since(began); took > 15*time.Second { // all of it takes 20 s
		t.Errorf("it took %s", took)
	}
}

// TestAlertmanager_AnEmptyListCountsOnlyOfAnAlertmanager: many servers answer an
// unknown path with an empty list or object. No alert is what lets a gate pass.
func TestAlertmanager_AnEmptyListCountsOnlyOfAnAlertmanager(t *testing.T) {
	t.Parallel()
	for status, passes := range map[string]bool{
		`{"uptime":"2020-01-01T00:00:00Z"}`: true,
		`{}`:                                false,
		`[]`:                                false,
		`null`:                              false,
		`{"uptime":"yesterday"}`:            false,
		`{"uptime":"9999-01-01T00:00:00Z"}`: false,
	} {
		mux := http.NewServeMux()
		mux.HandleFunc("/api/v2/alerts", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[]") })
		mux.HandleFunc("/api/v2/status", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, status) })
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		c := gate.New(gate.Config{Alertmanager: ask.Service{URL: server.URL}})
		if a := c.Check(t.Context(), alerts()); a.Passes != passes {
			t.Errorf("status %s: passes %v, %s", status, a.Passes, a.Detail)
		}
	}
}
