package e2e

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// impostor stands before a coordinator. Put before one of another cluster, it
// keeps from that one that its caller knows a cluster already, so that only the
// agent is left to notice. Where it lies, answers name the cluster that the agent
// knows.
type impostor struct {
	url string

	mu             sync.Mutex
	target         *url.URL
	known, strange string // the two clusters
	header, body   bool   // lies there
	polls, others  int    // requests
}

func startImpostor(t *testing.T, before string) *impostor {
	t.Helper()
	i := &impostor{}
	i.set(t, before, func() {})
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: i.ask, ModifyResponse: i.answer,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	t.Cleanup(server.Close)
	i.url = server.URL
	return i
}

func (i *impostor) set(t *testing.T, before string, change func()) {
	t.Helper()
	target, err := url.Parse(before)
	must0(t, err)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.target = target
	change()
}

func (i *impostor) lie(header, body bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.header, i.body = header, body
}

func (i *impostor) asked() (polls, others int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.polls, i.others
}

func (i *impostor) ask(r *httputil.ProxyRequest) {
	i.mu.Lock()
	defer i.mu.Unlock()
	r.SetURL(i.target)
	r.Out.Header.Del("Accept-Encoding")
	if i.strange == "" {
		return
	}
	if strings.HasSuffix(r.In.URL.Path, "/poll") {
		i.polls++
	} else if r.In.Method != http.MethodGet {
		i.others++
	}
	r.Out.Header.Del(api.HeaderCluster)
	text, _ := io.ReadAll(r.In.Body)
	text = bytes.ReplaceAll(text, []byte(`"cluster":"`+i.known+`"`), []byte(`"cluster":""`))
	r.Out.Body, r.Out.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
}

func (i *impostor) answer(r *http.Response) error {
	i.mu.Lock()
	header, body, known, strange := i.header, i.body, i.known, i.strange
	i.mu.Unlock()
	if header {
		r.Header.Set(api.HeaderCluster, known)
	}
	if !body || !strings.Contains(r.Header.Get("Content-Type"), "json") {
		return nil
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	text = bytes.ReplaceAll(text, []byte(strange), []byte(known))
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	r.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return nil
}

// An agent looks at the header of each answer, and at what the answer to its poll
// says. Each must be enough: the header is all that other answers have, and what
// stands between may keep it to itself.
func TestCluster_EachOfTheAgentsChecksIsEnough(t *testing.T) {
	t.Parallel()
	for name, lies := range map[string]struct{ header, body bool }{
		"the header tells":        {header: false, body: true},
		"the poll's answer tells": {header: true, body: false},
	} {
		t.Run(name, func(t *testing.T) {
			first := startCoordinator(t)
			between := startImpostor(t, first.url)
			w := newWitness(t)
			m := startFleet(t, w, between.url, 1)[0]
			known := statusOf(t, first.url).Cluster.ID
			first.terminate()
			other := startCoordinator(t)
			strange := statusOf(t, other.url).Cluster.ID
			between.set(t, other.url, func() { between.known, between.strange = known, strange })
			between.lie(lies.header, lies.body)

			allReport(t, other.url, 1)
			id := startRollout(t, other.url, pushBundle(t, other.url, "new", ""))
			eventually(t, "the agent says that it is the wrong cluster", func() bool {
				return strings.Contains(m.agent.output(t), "wrong cluster")
			})
			polls, _ := between.asked()
			eventually(t, "the agent has asked again, twice", func() bool {
				now, _ := between.asked()
				return now > polls+1
			})
			if _, others := between.asked(); others != 0 || w.most(t) != 0 {
				t.Fatalf("for a strange cluster the agent asked for more than what is wanted (%d times), or the host went out of service", others)
			}

			// Nothing else kept it: told both lies, it does what is wanted.
			between.lie(true, true)
			eventually(t, "an agent that is told nothing but lies is updated", func() bool {
				return rolloutOf(t, other.url, id).State == api.RolloutSucceeded
			})
		})
	}
}
