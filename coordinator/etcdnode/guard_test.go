package etcdnode

import (
	"context"
	"errors"
	"testing"
)

// A proposal that was lost with its leader is given up as soon as another member
// leads, and not when the same one leads again, nor while nobody does.
func TestTerms_EndWhenAnotherMemberLeads(t *testing.T) {
	for name, c := range map[string]struct {
		first uint64
		seen  []uint64
		ends  bool
	}{
		"another one":              {1, []uint64{2}, true},
		"nobody, then another one": {1, []uint64{0, 2}, true},
		"nobody":                   {1, []uint64{0}, false},
		"the same again":           {1, []uint64{0, 1}, false},
		"the first that is known":  {0, []uint64{1}, false},
	} {
		terms := newTerms(c.first)
		ctx, stop := terms.bound(context.Background())
		for _, lead := range c.seen {
			terms.see(lead)
		}
		<-settled(ctx, c.ends)
		if ended := errors.Is(context.Cause(ctx), errNewLeader); ended != c.ends {
			t.Errorf("%s: ended %v, want %v", name, ended, c.ends)
		}
		stop()
		if after, stop := terms.bound(context.Background()); after.Err() != nil {
			t.Errorf("%s: the next transaction is given up before it began", name)
		} else {
			stop()
		}
	}
}

// settled is closed when the context has ended, if it is to end: that happens in
// a goroutine of its own.
func settled(ctx context.Context, ends bool) <-chan struct{} {
	if ends {
		return ctx.Done()
	}
	at := make(chan struct{})
	close(at)
	return at
}
