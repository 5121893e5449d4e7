// Package hooks tests the hooks that are shipped for lockkeeper-agent.
package hooks

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/freeport"
)

// cluster is a small API server with one node: as much of Kubernetes as the real
// kubectl asks of it for a drain. It keeps resource versions, refuses patches of
// an older one, and lets a disruption budget refuse evictions.
type cluster struct {
	t *testing.T

	mu          sync.Mutex
	version     int
	cordoned    bool
	annotations map[string]string
	ready       string
	gone        bool     // the node
	pods        []string // on the node; "ds-" belongs to a daemon set, "bare-" to nobody
	budget      int      // evictions that are refused before one is allowed
	evicted     []string
	deleted     []string
	before      func() // once, before the next patch
}

type object map[string]any

func (c *cluster) node() object {
	return object{
		"apiVersion": "v1", "kind": "Node",
		"metadata": object{"name": "worker-7", "uid": "u", "resourceVersion": fmt.Sprint(c.version), "annotations": c.annotations},
		"spec":     object{"unschedulable": c.cordoned},
		"status":   object{"conditions": []object{{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": c.ready}}},
	}
}

func (c *cluster) pod(name string) object {
	meta := object{"name": name, "namespace": "shop", "uid": "u-" + name}
	if kind, set := map[string]string{"ds": "DaemonSet", "rs": "ReplicaSet"}[strings.Split(name, "-")[0]]; set {
		meta["ownerReferences"] = []object{{"apiVersion": "apps/v1", "kind": kind, "name": "owner", "uid": "o", "controller": true}}
	}
	return object{"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": object{"nodeName": "worker-7"}, "status": object{"phase": "Running"}}
}

func status(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object{"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message})
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	path := r.URL.Path
	answer := func(o object) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(o)
	}
	list := func(version string, resources ...object) object {
		return object{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
	}
	group := func(name, version string) object {
		v := object{"groupVersion": name + "/" + version, "version": version}
		return object{"name": name, "versions": []object{v}, "preferredVersion": v}
	}
	switch name := filepath.Base(path); {
	case path == "/version":
		answer(object{"major": "1", "minor": "32", "gitVersion": "v1.32.0"})
	case path == "/api":
		answer(object{"kind": "APIVersions", "versions": []string{"v1"}})
	case path == "/apis":
		answer(object{"kind": "APIGroupList", "apiVersion": "v1", "groups": []object{group("apps", "v1"), group("policy", "v1")}})
	case path == "/api/v1":
		answer(list("v1",
			object{"name": "nodes", "kind": "Node", "namespaced": false, "verbs": []string{"get", "list", "patch"}},
			object{"name": "pods", "kind": "Pod", "namespaced": true, "verbs": []string{"get", "list", "delete"}},
			object{"name": "pods/eviction", "kind": "Eviction", "namespaced": true, "group": "policy", "version": "v1", "verbs": []string{"create"}}))
	case path == "/apis/apps/v1":
		answer(list("apps/v1", object{"name": "daemonsets", "kind": "DaemonSet", "namespaced": true, "verbs": []string{"get"}}))
	case path == "/apis/policy/v1":
		answer(list("policy/v1"))
	case path == "/apis/apps/v1/namespaces/shop/daemonsets/owner":
		answer(object{"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": object{"name": "owner", "namespace": "shop", "uid": "o"}})
	case path == "/api/v1/nodes/worker-7" && c.gone:
		status(w, 404, "NotFound", `nodes "worker-7" not found`)
	case path == "/api/v1/nodes/worker-7" && r.Method == http.MethodGet:
		answer(c.node())
	case path == "/api/v1/nodes/worker-7" && r.Method == http.MethodPatch:
		if f := c.before; f != nil {
			c.before = nil
			f()
		}
		if c.patch(w, body) {
			answer(c.node())
		}
	case path == "/api/v1/pods":
		var items []object
		for _, p := range c.pods {
			items = append(items, c.pod(p))
		}
		answer(object{"apiVersion": "v1", "kind": "PodList", "metadata": object{"resourceVersion": "1"}, "items": items})
	case strings.HasSuffix(path, "/eviction") && r.Method == http.MethodPost:
		name = filepath.Base(filepath.Dir(path))
		if c.budget > 0 {
			c.budget--
			status(w, 429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.")
			return
		}
		c.evicted = append(c.evicted, name)
		c.pods = slices.DeleteFunc(c.pods, func(p string) bool { return p == name })
		w.WriteHeader(201)
		answer(object{"apiVersion": "v1", "kind": "Status", "status": "Success"})
	case strings.HasPrefix(path, "/api/v1/namespaces/shop/pods/") && r.Method == http.MethodDelete:
		c.deleted = append(c.deleted, name)
		answer(object{"apiVersion": "v1", "kind": "Status", "status": "Success"})
	case strings.HasPrefix(path, "/api/v1/namespaces/shop/pods/"):
		if !slices.Contains(c.pods, name) {
			status(w, 404, "NotFound", fmt.Sprintf("pods %q not found", name))
			return
		}
		answer(c.pod(name))
	default:
		status(w, 404, "NotFound", r.Method+" "+path+" is not served here")
	}
}

// patch is a merge patch of what the hook changes; false is one that was refused.
func (c *cluster) patch(w http.ResponseWriter, body []byte) bool {
	var p struct {
		Metadata struct {
			ResourceVersion string             `json:"resourceVersion"`
			Annotations     map[string]*string `json:"annotations"`
		} `json:"metadata"`
		Spec struct {
			Unschedulable *bool `json:"unschedulable"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		c.t.Errorf("patch %s: %v", body, err)
	}
	if v := p.Metadata.ResourceVersion; v != "" && v != fmt.Sprint(c.version) {
		status(w, 409, "Conflict", "the object has been modified; please apply your changes to the latest version")
		return false
	}
	for k, v := range p.Metadata.Annotations {
		delete(c.annotations, k)
		if v != nil {
			c.annotations[k] = *v
		}
	}
	c.cordoned = p.Spec.Unschedulable != nil && *p.Spec.Unschedulable
	c.version++
	return true
}

// rig is the cluster, its server, and what the hook is given.
type rig struct {
	*cluster
	env []string
	srv *httptest.Server
}

func newRig(t *testing.T, pods ...string) *rig {
	t.Helper()
	if _, err := exec.LookPath("kubectl"); err != nil {
		if os.Getenv("LOCKKEEPER_TEST_REQUIRE_ALL") != "" {
			t.Fatal("kubectl is missing")
		}
		t.Skip("needs kubectl, which is missing (make test installs it)")
	}
	c := &cluster{t: t, version: 1, annotations: map[string]string{}, ready: "True", pods: pods}
	srv := httptest.NewUnstartedServer(c)
	srv.Listener.Close()
	var err error
	if srv.Listener, err = freeport.Listen(); err != nil { // nobody else listens there when it is gone
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	kubeconfig := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n", srv.URL)
	files := map[string]string{
		"kubeconfig": kubeconfig,
		"drain.env":  "KUBECONFIG=" + dir + "/kubeconfig\nNODE_NAME=worker-7\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &rig{c, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LOCKKEEPER_NODE=host-7", "KUBERNETES_DRAIN_CONFIG=" + dir + "/drain.env"}, srv}
}

// hook calls the hook as the agent does, and wants that exit status and words.
func (r *rig) hook(point string, code int, words string) {
	r.t.Helper()
	cmd := exec.Command("./kubernetes-drain")
	cmd.Env = append(r.env, "LOCKKEEPER_HOOK="+point)
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(string(out), words) {
		r.t.Errorf("%s: exit status %d, want %d and %q:\n%s", point, got, code, words, out)
	}
}

// set changes the cluster between two hooks.
func (r *rig) set(change func(c *cluster)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r.cluster)
}

// evictedOnly expects these pods to have been evicted, in any order.
func (r *rig) evictedOnly(want ...string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := slices.Sorted(slices.Values(r.evicted)); !slices.Equal(got, want) {
		r.t.Errorf("evicted %q, want %q", got, want)
	}
}

func (r *rig) is(cordoned, ours bool) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, has := r.annotations["lockkeeper.github.io/cordoned"]; r.cordoned != cordoned || has != ours {
		r.t.Errorf("cordoned %t, annotated %t, want %t and %t", r.cordoned, has, cordoned, ours)
	}
	if len(r.deleted) > 0 {
		r.t.Errorf("pods were deleted past their budgets: %q", r.deleted)
	}
}

func TestKubernetes_ANodeIsDrainedAndTakenBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, "rs-web", "ds-log", "rs-db")
	r.hook("drain", 0, "")
	r.is(true, true)
	r.evictedOnly("rs-db", "rs-web")
	r.hook("drain", 0, "") // after a crash of the agent
	r.set(func(c *cluster) { c.ready = "False" })
	r.hook("undrain", 75, "not ready yet")
	r.is(true, true)
	r.set(func(c *cluster) { c.ready = "True" })
	r.hook("undrain", 0, "")
	r.is(false, false)
	r.hook("undrain", 0, "")
	r.is(false, false)
}

func TestKubernetes_ADisruptionBudgetIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t, "rs-web")
	r.set(func(c *cluster) { c.budget = 1000 })
	brief := *r
	brief.env = append(slices.Clip(r.env), "DRAIN_FOR=10s") // the others have the minutes that the hook gives itself
	brief.hook("drain", 75, "disruption budget")
	r.is(true, true)
	r.set(func(c *cluster) { c.budget = 0 })
	r.hook("drain", 0, "")
	r.evictedOnly("rs-web")
}

func TestKubernetes_ACordonOfSomebodyElseStays(t *testing.T) {
	t.Parallel()
	r := newRig(t, "rs-web")
	r.set(func(c *cluster) { c.cordoned = true })
	r.hook("drain", 0, "")
	r.is(true, false)
	r.hook("undrain", 0, "was cordoned by somebody else, and stays so")
	r.is(true, false)
}

// Between the look and the mark: whose cordon it is must not be guessed.
func TestKubernetes_ACordonThatComesMeanwhileIsNotTakenForOurs(t *testing.T) {
	t.Parallel()
	r := newRig(t, "rs-web")
	r.set(func(c *cluster) { c.before = func() { c.cordoned = true; c.version++ } })
	r.hook("drain", 75, "has been modified")
	r.hook("drain", 0, "")
	r.is(true, false)
}

func TestKubernetes_WhatWillNotPassFailsAndWhatWillIsTriedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, "bare-pod")
	r.hook("drain", 1, "bare-pod")
	r.hook("undrain", 0, "")
	r.is(false, false)
	r.set(func(c *cluster) { c.gone = true })
	r.hook("drain", 1, "not found")
	r.hook("undrain", 0, "nothing to uncordon")
	r.hook("apply", 1, "want drain or undrain")
	r.srv.Close()
	r.hook("drain", 75, "refused")
	r.hook("undrain", 75, "refused")
}
