package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// marker is what the data folder says of a join.
func (m *memberProcess) marker() (found struct {
	Complete bool `json:"complete"`
	Joining  *struct {
		MemberID string `json:"member_id"`
	} `json:"joining"`
}) {
	text, err := os.ReadFile(filepath.Join(m.data, "lockkeeper.json"))
	if err == nil {
		_ = json.Unmarshal(text, &found)
	}
	return found
}

// A join that is cut off, at whatever step, is finished by the same command.
func TestJoin_KilledAtAnyStepIsFinishedByTheSameCommand(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	steps := []struct {
		name    string
		reached func(m *memberProcess) bool
	}{
		{"it has begun", func(m *memberProcess) bool { return m.marker().Joining != nil }},
		{"it was added and has no log", func(m *memberProcess) bool {
			j := m.marker().Joining
			return j != nil && j.MemberID != ""
		}},
		{"its log has begun", func(m *memberProcess) bool {
			_, err := os.Stat(filepath.Join(m.data, "etcd", "member", "wal"))
			return err == nil
		}},
		{"it has caught up and has no vote", func(m *memberProcess) bool { return m.marker().Complete }},
	}
	for i, step := range steps {
		m := c.next()
		args := c.joining(c.token("cluster", "token"))
		m.coordinatorProcess = c.run(m, args...)
		// Or has gone on from there, or given up, before it was looked at.
		eventually(t, step.name, func() bool { return step.reached(m) || m.marker().Complete || !m.running() })
		m.kill()
		m.start()
		m.waitReady()
		c.members = append(c.members, m)
		if len(c.shown()) != i+2 {
			t.Fatalf("killed when %s: members are %+v", step.name, c.shown())
		}
		if i%2 == 1 {
			c.waitVoters(i + 2)
		}
	}
}

// Whatever is wrong with a join is said, and changes no member.
func TestJoin_WhatIsWrongIsSaidAndChangesNothing(t *testing.T) {
	t.Parallel()
	c, other := newCluster(t, 1), newCluster(t, 1)
	used := c.token("cluster", "token")
	c.grow(1)
	first := c.next()
	first.coordinatorProcess = c.run(first, c.joining(used)...)
	first.waitReady()
	c.members = append(c.members, first)
	c.waitVoters(3)
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "token")
		must0(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	read := func(path string) string {
		text, err := os.ReadFile(path)
		must0(t, err)
		return strings.TrimSpace(string(text))
	}
	good := read(c.token("cluster", "token"))
	parts := strings.Split(good, ".")
	revoked := c.token("cluster", "token")
	must(t, c.any().url, "token", "revoke", tokenID(t, read(revoked)))
	url, peer := c.any().url, freePort(t)
	before := fmt.Sprint(c.ids())
	listening := []string{"--peer-listen", peer}

	for name, try := range map[string]struct {
		args []string
		says string
	}{
		"no token":            {append(listening, "--join", url), "lockkeeper cluster token"},
		"no such file":        {append(listening, "--join", url, "--join-token-file", "/nowhere"), "no such file"},
		"no join token":       {append(listening, "--join", url, "--join-token-file", file("hello")), "no join token"},
		"another secret":      {append(listening, "--join", url, "--join-token-file", file(strings.Join([]string{parts[0][:len(parts[0])-3] + "AAA", parts[1], parts[2]}, "."))), "not known here"},
		"used by another":     {append(listening, "--join", url, "--join-token-file", used), "used by another member"},
		"taken back":          {append(listening, "--join", url, "--join-token-file", revoked), "not known here"},
		"of another cluster":  {append(listening, "--join", url, "--join-token-file", other.token("cluster", "token")), "another cluster"},
		"in the clear":        {append(listening, "--join", "http://192.0.2.1:8080", "--join-token-file", file(good)), "in the clear"},
		"no peer address":     {[]string{"--join", url, "--join-token-file", file(good)}, "--peer-listen"},
		"all addresses":       {[]string{"--peer-listen", "0.0.0.0:2380", "--join", url, "--join-token-file", file(good)}, "by which URL"},
		"nobody reaches it":   {append(listening, "--peer-url", "https://127.0.0.1:1", "--join", url, "--join-token-file", file(good)), "cannot be reached at its peer URL"},
		"on an existing etcd": {[]string{"--etcd-endpoints", "http://127.0.0.1:2379", "--join", url}, "only for an embedded store"},
	} {
		out, code := serveOnce(t, nil, append([]string{"--data-dir", filepath.Join(t.TempDir(), "data"), "--listen", "127.0.0.1:0"}, try.args...)...)
		if code != 2 || !strings.Contains(out, try.says) {
			t.Errorf("%s: exit %d, want 2 and %q\n%s", name, code, try.says, out)
		}
		if strings.Contains(out, parts[0][:20]) {
			t.Errorf("%s: the secret is in the output:\n%s", name, out)
		}
	}
	out, code := serveOnce(t, []string{"LOCKKEEPER_JOIN_TOKEN=hello"}, "--data-dir", filepath.Join(t.TempDir(), "data"), "--listen", "127.0.0.1:0", "--peer-listen", peer, "--join", url)
	if code != 2 || !strings.Contains(out, "LOCKKEEPER_JOIN_TOKEN: that is no join token") {
		t.Errorf("by the variable: exit %d\n%s", code, out)
	}
	if after := fmt.Sprint(c.ids()); after != before {
		t.Errorf("members were %s, are %s", before, after)
	}
	if out, errs, code := lockkeeper(t, url, "cluster", "token", "--ttl", "48h"); code == 0 || !strings.Contains(errs, "24h") {
		t.Errorf("a join token for two days: exit %d %s%s", code, out, errs)
	}
	alone := startCoordinator(t)
	if out, errs, code := lockkeeper(t, alone.url, "cluster", "token"); code != 4 || !strings.Contains(errs, "--peer-listen") {
		t.Errorf("a join token of one without a peer address: exit %d %s%s", code, out, errs)
	}
	var log strings.Builder
	for _, m := range c.members {
		log.WriteString(m.output(t))
	}
	for _, secret := range []string{parts[0], strings.Split(read(used), ".")[0], "PRIVATE KEY"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%.12s… is in a coordinator's log", secret)
		}
	}
}

// tokenID is the id of a join token.
func tokenID(t *testing.T, text string) string {
	t.Helper()
	token, err := auth.ParseJoinToken(text)
	must0(t, err)
	return auth.TokenID(auth.Hash(token.Secret))
}

// Off loopback a coordinator is spoken to by https, and the one that joins knows
// its certificate no better than anybody: the join token tells which cluster
// answers, before any secret is sent. Nobody else's token does it.
func TestJoin_OverTLSKnowsTheClusterByTheToken(t *testing.T) {
	t.Parallel()
	first := startSecured(t, "--name", "c1", "--peer-listen", freePort(t))
	other := startSecured(t, "--name", "other", "--peer-listen", freePort(t))
	token := func(s *secured) string {
		path := filepath.Join(t.TempDir(), "join.token")
		must0(t, os.WriteFile(path, []byte(must(t, s.admin, "cluster", "token")), 0o600))
		return path
	}
	serve := func(data, join, token string) []string {
		return []string{"--name", "c2", "--data-dir", data, "--listen", "127.0.0.1:0", "--tls-self-signed", "--peer-listen", freePort(t), "--join", join, "--join-token-file", token}
	}
	out, code := serveOnce(t, nil, serve(filepath.Join(t.TempDir(), "data"), first.url, token(other))...)
	if code != 2 || !strings.Contains(out, "shows no certificate of the cluster") {
		t.Errorf("with the token of another cluster: exit %d\n%s", code, out)
	}
	admin := filepath.Join(t.TempDir(), "admin.token")
	must0(t, os.WriteFile(admin, []byte(must(t, first.admin, "token", "create", "--role", "admin")), 0o600))
	if out, code := serveOnce(t, nil, serve(filepath.Join(t.TempDir(), "data"), first.url, admin)...); code != 2 || !strings.Contains(out, "no join token") {
		t.Errorf("with an admin's token: exit %d\n%s", code, out)
	}
	data := filepath.Join(t.TempDir(), "data")
	second := startProcess(t, "c2", program("lockkeeperd"), append([]string{"serve"}, serve(data, first.url, token(first))...)...)
	eventually(t, "the second is a member", func() bool {
		if !second.running() && strings.Contains(second.output(t), "no answer within") { // see waitReady
			second.start()
		}
		var cl api.Cluster
		must0(t, json.Unmarshal([]byte(must(t, first.admin, "cluster", "status", "-o", "json")), &cl))
		return len(cl.Members) == 2 && cl.Members[1].Started && cl.Members[1].Reachable
	})
	for _, name := range []string{"peer/ca.key", "peer/ca.crt", "peer/peer.key"} {
		info, err := os.Stat(filepath.Join(data, name))
		must0(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", name, info.Mode().Perm())
		}
	}
	join := strings.Split(strings.TrimSpace(must(t, first.admin, "cluster", "token")), ".")[0]
	for what, err := range map[string]error{
		"reading": func() error { _, err := first.client(t, join).Status(t.Context()); return err }(),
		"making a token": func() error {
			_, err := first.client(t, join).CreateJoinToken(t.Context(), api.JoinTokenRequest{})
			return err
		}(),
		"removing a member": func() error { _, err := first.client(t, join).RemoveMember(t.Context(), "c1"); return err }(),
		"joining with no token": func() error {
			_, err := first.client(t, strings.TrimSpace(must(t, first.admin, "token", "create", "--role", "admin"))).JoinBegin(t.Context(), api.JoinBeginRequest{Name: "x"})
			return err
		}(),
		"removing as an operator": func() error {
			_, err := first.client(t, strings.TrimSpace(must(t, first.admin, "token", "create", "--role", "operator"))).RemoveMember(t.Context(), "c2")
			return err
		}(),
	} {
		wantKind(t, what, err, api.Forbidden)
	}
}

// A coordinator on an etcd that others run shows its members, and leaves them be.
func TestMembers_OfAnExistingEtcdAreChangedThere(t *testing.T) {
	t.Parallel()
	_, url := startEtcd(t)
	c := startCoordinator(t, "--etcd-endpoints", url)
	for _, args := range [][]string{{"token"}, {"replace", "m0"}, {"promote", "m0"}, {"remove", "m0"}, {"move-leader"}} {
		if out, errs, code := lockkeeper(t, c.url, append([]string{"cluster"}, args...)...); code != 4 || !strings.Contains(errs, "etcdctl member") {
			t.Errorf("cluster %v: exit %d %s%s", args, code, out, errs)
		}
	}
	// It asks that etcd every few seconds.
	eventually(t, "the cluster is shown as it is", func() bool {
		got := clusterOf(t, c.url)
		return len(got.Members) == 1 && got.Members[0].Reachable && got.Members[0].DBSize != 0 && got.Members[0].PeerURL != ""
	})
}
