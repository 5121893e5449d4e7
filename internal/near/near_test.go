package near

import (
	"slices"
	"testing"
)

func TestTo_FindsWhatWasMeantAndNothingElse(t *testing.T) {
	names := []string{"listen", "limits", "log", "tls", "data_dir", "hosts", "prometheus_url"}
	for name, want := range map[string][]string{
		"lisen":          {"listen"},
		"listens":        {"listen"},
		"listne":         {"listen"},
		"data-dir":       {"data_dir"},
		"prometheus_ulr": {"prometheus_url"},
		"prometeus_ulr":  {"prometheus_url"},
		"host":           {"hosts"},
		"tsl":            {"tls"},
		"lg":             {"log"},
		"listen":         nil,
		"loc":            {"log"},
		"peers":          nil,
		"":               nil,
	} {
		if got := To(name, names); !slices.Equal(got, want) {
			t.Errorf("%q may have meant %q, want %q", name, got, want)
		}
	}
	if got := To("abcdxy", []string{"abcdef", "abcdey"}); !slices.Equal(got, []string{"abcdey", "abcdef"}) {
		t.Errorf("the nearest comes first: %q", got)
	}
}
