package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// stepOf reports what a browser takes for a step in the path: dots, escaped or not.
func stepOf(segment string) bool {
	plain := strings.ReplaceAll(strings.ToLower(segment), "%2e", ".")
	return plain == "." || plain == ".."
}

func TestSegment_IsNoStepInThePathAndNamesOneID(t *testing.T) {
	seen := map[string]string{}
	var read string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /nodes/{arg}", func(_ http.ResponseWriter, r *http.Request) { read = pathID(r, "arg") })
	for _, id := range []string{".", "..", "...", "~.", "~..", "~~.", "~", "~~", "a.", ".a", "%2E", "a/b", "web-1", "böse", "a b?c#d"} {
		s := segment(id)
		if stepOf(s) {
			t.Errorf("%q: a browser takes %q for a step", id, s)
		}
		if other, taken := seen[s]; taken {
			t.Errorf("%q and %q are both %q", id, other, s)
		}
		seen[s] = id
		read = ""
		mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/nodes/"+s, nil))
		if read != id {
			t.Errorf("%q is written %q and read %q", id, s, read)
		}
	}
}
