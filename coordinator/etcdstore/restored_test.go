package etcdstore

import (
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// A coordinator that has not announced itself yet, or whose etcd was marked
// beneath it, must not go on with the floor that it read at its start.
func TestMarkRestored_IsNoticedByACoordinatorThatRuns(t *testing.T) {
	d, cl := open(t)
	was, _, err := d.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done, err := MarkRestored(t.Context(), d.client, d.prefix, "the test", cl.now())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, d, "the new identity", func() bool { return d.Identity().Incarnation > was.Incarnation })
	if is := d.Identity(); is.ID != was.ID || is.FenceFloor != done.Is.FenceFloor || is.FenceFloor < cl.now().UnixMicro() || is.Revision <= was.Revision {
		t.Errorf("identity %+v, was %+v", is, was)
	}
}

func TestMarkRestored_TakesTheHighestFenceOfAllGroupsAndDropsWhatWasOfProcesses(t *testing.T) {
	d, cl := open(t)
	if _, _, err := d.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"groups/a/semaphore":            `{"v":1,"next_fence":7,"event_seq":1}`,
		"groups/gone/semaphore":         `{"v":1,"next_fence":2000000000000000,"event_seq":1,"deleted":true}`,
		"groups/a/holds/web-1":          `{}`,
		"groups/a/queue/web-2":          `{}`,
		"groups/a/queue/web-3":          `{}`,
		"presence/agent/web-1":          `{}`,
		"rollout-engine/694d":           `{}`,
		"nodes/web-1":                   `{}`,
		"freeze":                        `{"v":1,"id":"f","by":"ann","reason":"storage","stop":true}`,
		"events/fleet/0000000000000041": `{}`,
	} {
		if _, err := d.client.Put(t.Context(), d.prefix+key, value); err != nil {
			t.Fatal(err)
		}
	}
	done, err := MarkRestored(t.Context(), d.client, d.prefix, "the test", cl.now())
	if err != nil {
		t.Fatal(err)
	}
	if done.HighestFence != 2_000_000_000_000_000 || done.Is.FenceFloor != done.HighestFence+semaphore.FenceJump {
		t.Errorf("highest %d, floor %d", done.HighestFence, done.Is.FenceFloor)
	}
	if done.Groups != 1 || done.Holds != 1 || done.Places != 2 {
		t.Errorf("%d groups, %d holds, %d places", done.Groups, done.Holds, done.Places)
	}
	if f := done.Freeze; !f.Stop || !strings.Contains(f.Reason, "before that it was frozen by ann: storage") {
		t.Errorf("freeze %+v: what it replaces is forgotten", f)
	}
	resp, err := d.client.Get(t.Context(), d.prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, k := range resp.Kvs {
		left = append(left, strings.TrimPrefix(string(k.Key), d.prefix))
	}
	want := "cluster/identity events/fleet/0000000000000041 events/fleet/0000000000000042 freeze groups/a/holds/web-1 groups/a/semaphore groups/gone/semaphore nodes/web-1"
	if got := strings.Join(left, " "); got != want {
		t.Errorf("left\n%s, want\n%s", got, want)
	}
	eventually(t, d, "the event", func() bool {
		list, err := d.Events(t.Context(), api.EventQuery{Limit: 10, Last: true})
		return err == nil && len(list.Events) > 0 && list.Events[len(list.Events)-1].Kind == "cluster.restored"
	})
}

func TestMarkRestored_IncarnationsGrowWithAClockThatWasSetBack(t *testing.T) {
	d, cl := open(t)
	was, _, err := d.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done, err := MarkRestored(t.Context(), d.client, d.prefix, "the test", cl.now().Add(-240*time.Hour))
	if err != nil || done.Is.Incarnation != was.Incarnation+1 {
		t.Errorf("incarnation %d after %d, %v", done.Is.Incarnation, was.Incarnation, err)
	}
}

func TestMarkRestored_AStoreWithoutAClusterIsLeftAlone(t *testing.T) {
	d, cl := open(t)
	if _, err := MarkRestored(t.Context(), d.client, d.prefix, "the test", cl.now()); !errors.Is(err, ErrNoCluster) {
		t.Errorf("err is %v", err)
	}
	resp, err := d.client.Get(t.Context(), d.prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || resp.Count != 0 {
		t.Errorf("%d keys, %v", resp.Count, err)
	}
}
