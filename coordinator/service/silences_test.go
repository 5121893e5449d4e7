package service

import (
	"strings"
	"testing"
	"time"
)

type failingSilences struct{ why string }

func (f *failingSilences) Failure() (string, time.Time) { return f.why, time.Unix(1, 0) }

func TestStatus_AnAlertmanagerThatTakesNoSilencesNeedsAPerson(t *testing.T) {
	silences := &failingSilences{}
	b := start(t, func(c *Config) { c.Silences = silences })
	if st := b.status(0); !st.OK {
		t.Errorf("%+v", st)
	}
	silences.why = "10.0.0.5:9093: no answer within 5s"
	b.clock.pass(time.Minute)
	st := b.status(1)
	a := st.Attention[0]
	if a.Kind != attentionSilences || a.Severity != warn || a.Since.IsZero() || !strings.Contains(a.Detail, "no answer within 5s. Updates go on all the same") || st.OK {
		t.Errorf("%+v", a)
	}
}
