package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Whoever reads the trail sees who changed what, why, what was there before and
// what is there now, in the order in which it was done.
func TestEvents_SayWhatWasAndWhatIs(t *testing.T) {
	b := start(t)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	b.withGroup("web", "1")
	b.withGroup("web", "3")
	f, err := b.Freeze(b.admin(), "web", api.FreezeRequest{Reason: "a storm"})
	ok(err)
	ok(b.Unfreeze(b.admin(), "web", f.ID))
	all, err := b.Freeze(b.admin(), "", api.FreezeRequest{Reason: "a flood"})
	ok(err)
	ok(b.Unfreeze(b.admin(), "", all.ID))
	b.hello("a", "web")
	_, err = b.PatchNode(b.admin(), "a", api.NodePatch{Labels: map[string]string{"zone": "z1"}}, "")
	ok(err)
	_, err = b.PatchNode(b.admin(), "a", api.NodePatch{Labels: map[string]string{"zone": "z2"}}, "")
	ok(err)
	token, err := b.CreateToken(b.admin(), api.TokenRequest{Role: api.RoleViewer})
	ok(err)
	ok(b.DeleteToken(b.admin(), token.ID))
	b.withGroup("none", "0")
	b.hello("w", "none")
	ctx, leave := context.WithCancel(b.as("w"))
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_, _ = b.Acquire(ctx, "none", "w", api.AcquireRequest{Instance: "w", Request: "first", BootID: "boot"}, time.Minute)
	}()
	b.eventually("w is queued", func() bool { g, _ := b.Group(b.admin(), "none"); return len(g.Queue) == 1 })
	ok(b.SetPriority(b.admin(), "none", "w", api.PriorityRequest{Priority: 7}))
	leave()
	<-asked

	freeze := func(f api.Freeze) string {
		return fmt.Sprintf(`{"v":1,"id":%q,"by":%q,"at":"`, f.ID, f.By) // and when, and why
	}
	made := fmt.Sprintf(`{"id":%q,"role":"viewer","by":"`, token.ID)
	want := []struct{ kind, detail, before, after string }{
		{"group.created", "slots 1", "", `"slots":1,`},
		{"group.changed", "slots 1 to 3", `"slots":1,`, `"slots":3,`},
		{"freeze.set", "a storm", "", freeze(f)},
		{"freeze.lifted", "a storm", freeze(f), ""},
		{"freeze.set", "a flood", "", freeze(all)},
		{"freeze.lifted", "a flood", freeze(all), ""},
		{"node.joined", "no labels", "", `{}`},
		{"node.changed", "zone=z1", `{}`, `{"declared":{"zone":"z1"}}`},
		{"node.changed", "zone=z2", `{"declared":{"zone":"z1"}}`, `{"declared":{"zone":"z2"}}`},
		{"token.created", "", "", made},
		{"token.deleted", "", made, ""},
		{"queue.priority", "priority 0 to 7", "0", "7"},
	}
	b.eventually("all of it is in the trail", func() bool {
		list, err := b.Events(b.admin(), api.EventQuery{Limit: 1000})
		ok(err)
		events := slices.DeleteFunc(list.Events, func(e api.Event) bool {
			return e.Group == "default" || e.Group == "none" && e.Kind != "queue.priority" || e.Actor == "bootstrap"
		})
		if len(events) < len(want) {
			return false
		}
		for i, w := range want {
			e := events[i]
			if e.Kind != w.kind || e.Actor == "" || w.detail != "" && e.Detail != w.detail || !says(e.Before, w.before) || !says(e.After, w.after) {
				t.Fatalf("event %d is %+v, before %s, after %s; want %+v", i, e, e.Before, e.After, w)
			}
		}
		return true
	})
}

// says reports whether what was, or is, has the words; nothing says nothing.
func says(value []byte, words string) bool {
	if words == "" {
		return len(value) == 0
	}
	return strings.Contains(string(value), words)
}
