package door

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// A thousand requests a second without a token make one line a minute for each who
// sends them, and all are counted. What is refused to somebody known has its line.
func TestLog_AFloodOfStrangersIsOneLineAMinuteForEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		reg := prometheus.NewRegistry()
		metrics, err := NewMetrics(reg)
		if err != nil {
			t.Fatal(err)
		}
		h := Wrap(http.NotFoundHandler(), Options{
			AllowedHosts: []string{"lock"}, Logger: slog.New(slog.NewTextHandler(&log, nil)), Metrics: metrics,
			Authenticate: func(_ context.Context, secret string) (auth.Principal, error) {
				return auth.Principal{Name: secret, Role: "viewer"}, nil
			},
		})
		ask := func(peer, token string) {
			r := httptest.NewRequest("GET", "https://lock/api/v1/status", nil)
			r.RemoteAddr = peer
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		lines := func() int {
			defer log.Reset()
			return strings.Count(log.String(), "level=WARN")
		}
		for i := range 1000 {
			ask(fmt.Sprintf("192.0.2.7:%d", 1000+i), "")
			ask(fmt.Sprintf("[2001:db8::%x]:77", i), "") // a network of one owner
			time.Sleep(time.Millisecond)
		}
		if got := lines(); got != 2 {
			t.Errorf("two strangers made %d lines", got)
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "lockkeeper_http_requests_total" && f.GetMetric()[0].GetCounter().GetValue() != 2000 {
				t.Errorf("of 2000 there were counted %v", f)
			}
		}
		for range 3 {
			ask("192.0.2.8:77", "ann")
		}
		if got := lines(); got != 3 {
			t.Errorf("three mistakes of somebody known made %d lines", got)
		}
		time.Sleep(time.Minute)
		ask("192.0.2.8:77", "ann")
		told := regexp.MustCompile(`more requests of a stranger were refused" peer=(\S+) requests=(\d+)`).FindAllStringSubmatch(log.String(), -1)
		if len(told) != 2 || told[0][1] != "192.0.2.7" || told[0][2] != "999" || told[1][1] != "2001:db8::/64" || told[1][2] != "999" {
			t.Errorf("a minute later it tells %v:\n%s", told, log.String())
		}
		log.Reset()
		ask("192.0.2.7:77", "")
		if got := lines(); got != 1 {
			t.Errorf("a minute later one made %d lines", got)
		}
		for i := range 5000 {
			ask(fmt.Sprintf("10.0.%d.%d:77", i/250, i%250), "")
		}
		if got := lines(); got > maxHushed+1 {
			t.Errorf("5000 strangers made %d lines", got)
		}
		time.Sleep(time.Minute)
		ask("192.0.2.8:77", "ann")
		if !strings.Contains(log.String(), "peer=others requests=") {
			t.Errorf("those that are not told apart are not told of:\n%s", log.String())
		}
	})
}
