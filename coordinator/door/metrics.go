package door

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts requests. One serves every listener of a coordinator.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lockkeeper_http_requests_total", Help: "Requests answered, by route, method and status; 499 is a client that left before its answer, and one above its limit is counted under 429.",
		}, []string{"route", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "lockkeeper_http_request_duration_seconds", Help: "Time until a request was answered. Long polls, parked requests and streams wait on purpose.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"route"}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) count(route, method string, code int, took time.Duration) {
	if m == nil {
		return
	}
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(code)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

// routeOf is one of a bounded number of names: the pattern that the innermost
// router matched, else a path that is known, else "other".
func routeOf(route *chi.Context, r *http.Request) string {
	for i := len(route.RoutePatterns) - 1; i >= 0; i-- {
		if p := route.RoutePatterns[i]; p != "" && !strings.HasSuffix(p, "*") {
			return p
		}
	}
	switch p := r.URL.Path; {
	case isFleetLock(r), open(r), p == "/metrics", p == "/":
		return p
	case strings.HasPrefix(p, "/static/"):
		return "/static/"
	case strings.HasPrefix(p, "/ui/"):
		return "/ui/"
	}
	return "other"
}
