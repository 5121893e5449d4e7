package service

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// listedUntold is what the attention list says of rollouts with these messages.
func listedUntold(now time.Time, messages ...api.Undelivered) []api.Attention {
	return untold(&overview{at: now, rollouts: []api.Rollout{{ID: "ro-1", BundleName: "motd", Undelivered: messages}}})
}

func TestUntold_AMessageThatIsTriedNeedsAPersonAfterThreeTries(t *testing.T) {
	now := time.Date(2026, 11, 27, 18, 0, 0, 0, time.UTC)
	message := api.Undelivered{To: "ops", What: "halted", At: now.Add(-time.Minute), Tries: 2, Detail: "hooks.example.com answered 404 Not Found"}
	if list := listedUntold(now, message); len(list) != 0 {
		t.Errorf("two tries are listed: %+v", list)
	}
	message.Tries = 3
	list := listedUntold(now, message)
	if len(list) != 1 || list[0].Kind != "undelivered" || list[0].Rollout != "ro-1" || !list[0].Since.Equal(message.At) {
		t.Fatalf("listed are %+v", list)
	}
	const want = "Not delivered to ops (halted: hooks.example.com answered 404 Not Found). The rollout does not wait for them. A message is tried for 12 hours; mend the webhook, or see to it yourself."
	if got := list[0].Detail; got != want {
		t.Errorf("it says %q\nwant %q", got, want)
	}
}

// What was given up nobody can deliver any more: it must be said so, and must not
// keep the fleet from being well for as long as the rollout is known.
func TestUntold_AMessageThatWasGivenUpIsSaidToBeAndEndsByItself(t *testing.T) {
	now := time.Date(2026, 11, 27, 18, 0, 0, 0, time.UTC)
	gone := api.Undelivered{To: "ops", What: "halted", At: now.Add(-2*24*time.Hour + time.Minute), Tries: 1, Detail: "hooks.example.com answered 410 Gone", GaveUp: true}
	list := listedUntold(now, gone)
	if len(list) != 1 || !strings.Contains(list[0].Detail, "given up") || strings.Contains(list[0].Detail, "12 hours") {
		t.Errorf("listed are %+v", list)
	}
	tried := api.Undelivered{To: "pager", What: "aborted", At: now.Add(-time.Hour), Tries: 9, Detail: "answered 500"}
	list = listedUntold(now, tried, gone)
	if len(list) != 1 || !strings.Contains(list[0].Detail, "pager (aborted: answered 500), nor to ops (halted: ") || !strings.Contains(list[0].Detail, "12 hours") || !list[0].Since.Equal(gone.At) {
		t.Errorf("with one that is still tried, listed are %+v", list)
	}
	if list := listedUntold(now.Add(time.Minute), gone); len(list) != 0 {
		t.Errorf("two days later it is listed: %+v", list)
	}
}
