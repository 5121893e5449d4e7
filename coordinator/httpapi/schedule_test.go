package httpapi

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func TestBody_WhatIsWrongInWindowsAndBlackoutsIsRefusedWithItsPlace(t *testing.T) {
	f := &fake{}
	for body, place := range map[string]string{
		`{"slots":1,"windows":[{"start":"22:00","duration":"4h","zone":"UTC"}]}`:                                       "body.windows[0].zone",
		`{"slots":1,"windows":[{"start":"22:00"}]}`:                                                                    "body.windows[0]",
		`{"slots":1,"windows":[{"start":"22:00","duration":"4h","weekdays":"mon"}]}`:                                   "body.windows[0].weekdays",
		`{"slots":1,"windows":[{"start":"22:00","duration":4}]}`:                                                       "body.windows[0].duration",
		`{"slots":1,"blackouts":[{"name":"b","start":"2026-12-20","end":"2026-12-21T00:00:00Z"}]}`:                     "body.blackouts[0].start",
		`{"slots":1,"blackouts":[{"name":"b","start":"2026-12-20T00:00:00Z"}]}`:                                        "body.blackouts[0]",
		`{"slots":1,"blackouts":[{"name":"b","start":"2026-12-20T00:00:00Z","end":"2026-12-21T00:00:00Z","why":"x"}]}`: "body.blackouts[0].why",
		`{"slots":1,"grant_interval":600}`:                                                                             "body.grant_interval",
	} {
		p := refusal(t, ask(t, f, "PUT", "/api/v1/groups/web", body))
		if p.Status != 400 || p.Kind != api.Invalid || len(p.Errors) == 0 || p.Errors[0].Path != place || p.Errors[0].Detail == "" {
			t.Errorf("%s: %+v", body, p)
		}
	}
	if f.last() != "" {
		t.Errorf("the service was asked: %s", f.last())
	}
	ok := `{"slots":1,"windows":[{"start":"22:00","duration":"4h"}],"blackouts":[{"name":"b","start":"2026-12-20T00:00:00+01:00","end":"2026-12-21T00:00:00Z"}],"grant_interval":"10m"}`
	if resp := ask(t, f, "PUT", "/api/v1/groups/web", ok); resp.StatusCode >= 300 {
		t.Errorf("status %d", resp.StatusCode)
	}
}
