package main

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

func TestWatch_IntoAPipeWritesALineForEachChange(t *testing.T) {
	held := calm()
	held.Groups[0].Status.Held, held.Groups[0].Status.Waiting = 2, 3
	f := &fake{status: []api.Status{calm(), calm(), held, held}}
	// The fifth look is refused, which ends the command.
	f.err = []error{nil, nil, nil, nil, api.Errorf(api.Forbidden, "the token ended")}
	r := newShell(f).run(t, "watch", "--interval", "100ms")
	r.want(t, exitUnauthorised, "the token ended")
	want := `12:00:00 Nothing needs you.
12:00:00 group web: 1 of 2 slots held, 0 waiting
12:00:00 group web: 2 of 2 slots held, 3 waiting
`
	if r.out != want {
		t.Errorf("output:\n%s\nwant:\n%s", r.out, want)
	}
}

func TestWatch_OfAGroupThatThereIsNotEnds(t *testing.T) {
	f := &fake{status: []api.Status{calm()}}
	newShell(f).run(t, "watch", "--group", "wbe").want(t, exitNotFound, `there is no group "wbe"`)
}

func TestWatch_OnATerminalKeepsTheLastPictureWhileNobodyAnswers(t *testing.T) {
	f := &fake{status: []api.Status{calm()}}
	f.err = []error{nil, client.ErrUnreachable, api.Errorf(api.Forbidden, "the token ended")}
	s := newShell(f)
	s.outTTY = true
	r := s.run(t, "watch", "--interval", "100ms")
	r.want(t, exitUnauthorised)
	frames := strings.Split(r.out, "\x1b[J")
	if len(frames) != 3 || !strings.Contains(frames[1], "No answer, this was just now") || !strings.Contains(frames[1], "Nothing needs you.") {
		t.Errorf("frames: %q", frames)
	}
}
