package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// refusing is a server that answers everything with one problem.
func refusing(t *testing.T, p api.Problem) *shell {
	t.Helper()
	p.Status, p.Type = p.Kind.Status(), "/problems/"+string(p.Kind)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set(api.HeaderCluster, "c1")
		w.Header().Set(api.HeaderIncarnation, "1")
		w.WriteHeader(p.Status)
		if err := json.NewEncoder(w).Encode(p); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("LOCKKEEPER_SERVER", server.URL)
	return &shell{connect: dial}
}

func TestExitCode_FollowsTheKindOfTheRefusal(t *testing.T) {
	for kind, code := range map[api.Kind]int{
		api.Invalid: exitUsage, api.TooLarge: exitUsage,
		api.Unauthenticated: exitUnauthorised, api.Forbidden: exitUnauthorised,
		api.UnknownGroup: exitNotFound, api.NotFound: exitNotFound,
		api.Conflict: exitRefused, api.InUse: exitRefused, api.StaleFence: exitRefused, api.Frozen: exitRefused,
		api.Internal: exitPerson,
	} {
		t.Run(string(kind), func(t *testing.T) {
			s := refusing(t, api.Problem{Kind: kind, Detail: "so it is", RequestID: "01REQ"})
			r := s.run(t, "node", "forget", "web1")
			r.want(t, code, "lockkeeper node forget: ", "so it is", "(request 01REQ)")
			if r.out != "" {
				t.Errorf("an error was written to the standard output: %q", r.out)
			}
		})
	}
}

func TestExitCode_IsUnreachableWhereNobodyListens(t *testing.T) {
	s := &shell{connect: dial}
	s.run(t, "--server", "http://127.0.0.1:1", "status").want(t, exitUnreachable, "127.0.0.1:1")
}

func TestExitCode_IsUsageForWhatIsWrongBeforeAnybodyIsAsked(t *testing.T) {
	for _, line := range []string{
		"bogus", "status extra", "--bogus status", "group", "group bogus", "group show", "help bogus", "completion tcsh", "group set web --slots many",
		"group set b@d --slots 1", "group set web --slots 1 --limit zone", "group set web --hold-timeout soon",
		"node list --state sleepy", "node label web1 zone", "rollout start --group web", "rollout start --bundle abcd",
		"rollout start --bundle abcd --dir . --group web", "bundle create /does/not/exist", "token create --role king",
		"token create --role node", "token create --role viewer --ttl never", "events --limit 0", "status -o xml",
		"explain web1 --group web", "apply", "apply -f /does/not/exist", "watch -o json", "--server ftp://x status",
		"hold revoke web1", "hold release web1", "hold release web1 --host-is-down --reason x",
		"hold release web1 --host-is-down --name web1", "hold release web1 --host-is-down --reason x --name web2",
	} {
		t.Run(line, func(t *testing.T) {
			s := &shell{connect: dial}
			r := s.run(t, strings.Fields(line)...)
			r.want(t, exitUsage)
			if first, _, _ := strings.Cut(r.err, "\n"); !strings.HasPrefix(first, "lockkeeper") || !strings.Contains(first, ": ") {
				t.Errorf("the first line does not say what is wrong: %q", first)
			}
		})
	}
}

func TestErrorLine_HasFieldsBlockersAndWhenToTryAgainOnOneLine(t *testing.T) {
	got := errorLine(&api.Error{
		Kind: api.Invalid, Detail: "the group\nis wrong", RequestID: "01REQ",
		Fields: []api.FieldError{{Path: "spec.slots", Detail: "must not be below 0"}, {Path: "spec.limits", Detail: "too many"}},
	})
	want := "invalid: the group; is wrong: spec.slots: must not be below 0; spec.limits: too many (request 01REQ)"
	if got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	got = errorLine(&api.Error{
		Kind: api.Invalid, Detail: "body.conflict: want one of refuse, queue",
		Fields: []api.FieldError{{Path: "body.conflict", Detail: "want one of refuse, queue"}, {Path: "on_done[0].webhook", Detail: "there is none"}},
	})
	if want := "invalid: conflict: want one of refuse, queue; on_done[0].webhook: there is none"; got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	got = errorLine(&api.Error{Kind: api.Full, Detail: "may not go", Place: 3, Blockers: []api.Blocker{{Kind: api.Full, Detail: "2 of 2 slots are held"}}})
	if want := "full: may not go; 2 of 2 slots are held; place 3 in the queue"; got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
}

func TestToken_IsTakenFromTheEnvironmentAndHasNoFlag(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		w.WriteHeader(http.StatusTeapot)
	}))
	defer server.Close()
	t.Setenv("LOCKKEEPER_TOKEN", "lk_secret")
	s := &shell{connect: dial}
	s.run(t, "--server", server.URL, "cluster")
	if got != "Bearer lk_secret" {
		t.Errorf("Authorization = %q", got)
	}
	s.run(t, "--token", "lk_secret", "cluster").want(t, exitUsage, "unknown flag: --token")
}

func TestHelp_DocumentsEveryExitCode(t *testing.T) {
	r := (&shell{}).run(t, "help", "exit-codes")
	r.want(t, exitOK, "  0 ", "  1 ", "  2 ", "  3 ", "  4 ", "  5 ", "  6 ", "  130 ")
}
