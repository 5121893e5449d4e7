package coordinator

import (
	"errors"
	"testing"
	"testing/synctest"
)

// A store that ends while the coordinator loads it answers nobody, and does not
// let go of those who ask.
func TestUnlessEnded_DoesNotWaitForAStoreThatEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended, answer := make(chan error, 1), make(chan struct{})
		defer close(answer)
		said := errors.New("failed to commit tx")
		ended <- said
		err := unlessEnded(ended, func() error { <-answer; return nil })
		if !errors.Is(err, ErrStoreEnded) || !errors.Is(err, said) {
			t.Errorf("got %v, want ErrStoreEnded with what the store said", err)
		}
		failed := errors.New("no room")
		if err := unlessEnded(make(chan error), func() error { return failed }); !errors.Is(err, failed) || errors.Is(err, ErrStoreEnded) {
			t.Errorf("got %v, want what failed", err)
		}
	})
}
