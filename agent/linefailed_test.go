package agent

import (
	"errors"
	"testing"
)

func TestLineFailed_SaysWhatItPrintedIfAnything(t *testing.T) {
	status := errors.New("exit status 1")
	for out, want := range map[string]string{
		"":        `the check "nginx -t" failed: exit status 1`,
		"no such": `the check "nginx -t" failed: exit status 1: no such`,
	} {
		if err := lineFailed("check", "nginx -t", out, status); err.Error() != want || !errors.Is(err, status) {
			t.Errorf("printed %q: %v, want %s", out, err, want)
		}
	}
}
