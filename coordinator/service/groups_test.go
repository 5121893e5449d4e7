package service

import (
	"strconv"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func TestPutGroup_SaysWhetherItCreatedAlsoWithoutARevision(t *testing.T) {
	b := start(t)
	put := func(slots api.Slots) (api.Group, error) {
		return b.PutGroup(b.admin(), "web", api.GroupSpec{Slots: slots}, "")
	}
	for i, want := range []bool{true, false, false} {
		if g, err := put("2"); err != nil || g.Created != want || g.Spec.Slots != "2" {
			t.Errorf("put %d: %+v %v, want created %v", i+1, g, err, want)
		}
	}
	if err := b.DeleteGroup(b.admin(), "web", ""); err != nil {
		t.Fatal(err)
	}
	if g, err := put("3"); err != nil || !g.Created || g.Spec.Slots != "3" {
		t.Errorf("put after the deletion: %+v %v", g, err)
	}
	_, err := put("101%")
	field(t, err, "slots")
}

func TestBootstrap_MakesTheGroupDefaultOnceAndNeverBringsItBack(t *testing.T) {
	b := start(t)
	g, err := b.Group(b.admin(), "default")
	if err != nil || g.Spec.Slots != "1" || g.Status.Slots != 1 || g.Status.Free != 1 {
		t.Fatalf("%+v %v", g, err)
	}
	id, _ := b.ClusterID()
	if err := b.DeleteGroup(b.admin(), "default", ""); err != nil {
		t.Fatal(err)
	}
	if err := b.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = b.Group(b.admin(), "default")
	mustRefuse(t, err, api.UnknownGroup)
	if now, _ := b.ClusterID(); now != id {
		t.Error("another identity")
	}
}

func TestPutGroup_IsGuardedByTheRevisionAndReadAtOnce(t *testing.T) {
	b := start(t)
	spec := api.GroupSpec{
		Slots: "10%", Limits: []api.Limit{{By: "zone", Max: "1"}}, CountUnreachable: true,
		Timeouts: api.GroupTimeouts{Hold: "45m", FleetLockHold: "2h"},
	}
	g, err := b.PutGroup(b.admin(), "web", spec, "*")
	if err != nil || !g.Created || g.Revision == 0 || g.Spec.Slots != "10%" || g.Spec.Timeouts.Hold != "45m0s" || len(g.Spec.Limits) != 1 || !g.Spec.CountUnreachable {
		t.Fatalf("%+v %v", g, err)
	}
	if read, err := b.Group(b.admin(), "web"); err != nil || read.Revision != g.Revision {
		t.Errorf("read back: %+v %v", read, err)
	}
	_, err = b.PutGroup(b.admin(), "web", spec, "*")
	mustRefuse(t, err, api.Changed)
	spec.Slots = "3"
	_, err = b.PutGroup(b.admin(), "web", spec, strconv.FormatInt(g.Revision+1, 10))
	mustRefuse(t, err, api.Changed)
	now, err := b.PutGroup(b.admin(), "web", spec, strconv.Quote(strconv.FormatInt(g.Revision, 10)))
	if err != nil || now.Created || now.Spec.Slots != "3" {
		t.Errorf("%+v %v", now, err)
	}
	mustRefuse(t, b.DeleteGroup(b.admin(), "web", strconv.FormatInt(g.Revision, 10)), api.Changed)
	if err := b.DeleteGroup(b.admin(), "web", strconv.FormatInt(now.Revision, 10)); err != nil {
		t.Error(err)
	}
}

func TestPutGroup_NamesTheWrongField(t *testing.T) {
	b := start(t)
	try := func(name string, spec api.GroupSpec, ifMatch string) error {
		_, err := b.PutGroup(b.admin(), name, spec, ifMatch)
		return err
	}
	ok := api.GroupSpec{Slots: "1"}
	field(t, try("no group", ok, ""), "group")
	field(t, try("g", ok, "soon"), "If-Match")
	field(t, try("g", api.GroupSpec{}, ""), "slots")
	field(t, try("g", api.GroupSpec{Slots: "many"}, ""), "slots")
	field(t, try("g", api.GroupSpec{Slots: "101%"}, ""), "slots")
	field(t, try("g", api.GroupSpec{Slots: "1", Limits: []api.Limit{{By: "zone", Max: "-1"}}}, ""), "limits[0].max")
	field(t, try("g", api.GroupSpec{Slots: "1", Limits: []api.Limit{{Max: "1"}}}, ""), "limits[0].by")
	field(t, try("g", api.GroupSpec{Slots: "1", Timeouts: api.GroupTimeouts{Hold: "long"}}, ""), "timeouts.hold")
}

func TestDeleteGroup_IsRefusedWhileSomebodyHolds(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	b.acquire("default", "a")
	mustRefuse(t, b.DeleteGroup(b.admin(), "default", ""), api.InUse)
}

func TestGroup_ShowsHoldsQueueAndWhatIsFree(t *testing.T) {
	b := start(t)
	b.withGroup("default", "2")
	for _, n := range []string{"a", "b", "c"} {
		b.hello(n, "default")
	}
	b.acquire("default", "b")
	b.clock.pass(1)
	b.acquire("default", "a")
	if a, err := b.lock("default", "z", "10.0.0.1:1"); err != nil || a.Place != 1 {
		t.Fatalf("%+v %v", a, err)
	}
	g, err := b.Group(b.admin(), "default")
	if err != nil || g.Status.Held != 2 || g.Status.Free != 0 || g.Status.Waiting != 1 || g.Status.Members != 4 {
		t.Errorf("%+v %v", g.Status, err)
	}
	if len(g.Holds) != 2 || g.Holds[0].Node != "b" {
		t.Errorf("holds, oldest first: %+v", g.Holds)
	}
	if len(g.Queue) != 1 || g.Queue[0].Place != 1 || g.Queue[0].Node != "z" || g.Queue[0].Via != "fleetlock" {
		t.Errorf("queue: %+v", g.Queue)
	}
}
