package service

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Whoever has a step taken looks then whether all members have taken it: by the
// step before, all have.
func TestAuthority_IsShownAsItIsHoweverLateTheWatchIs(t *testing.T) {
	b, _ := withMembers(t, named("1", "leader"), named("2", "follower"))
	b.db.Stop() // and with it the watch
	begun, err := b.RotateAuthority(b.admin(), api.AuthorityRequest{Step: "begin"})
	if err != nil {
		t.Fatal(err)
	}
	now, err := b.Authority(b.admin())
	if err != nil || now.Stage != api.AuthorityTrust || now.To != begun.To {
		t.Errorf("after begin it is %+v, %v", now, err)
	}
	for _, m := range now.Members {
		if m.Todo == "" {
			t.Errorf("%s has taken a step that nobody knows of yet", m.Member)
		}
	}
	_, err = b.RotateAuthority(b.admin(), api.AuthorityRequest{Step: "next"})
	if e := mustRefuse(t, err, api.Conflict); !strings.Contains(e.Detail, "not every member has taken the last step") {
		t.Errorf("said %q", e.Detail)
	}
}
