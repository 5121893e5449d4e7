package peerca

import (
	"slices"
	"testing"
	"time"
)

func load(t *testing.T, dir string) *CA {
	t.Helper()
	ca, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// issue gives the folder's member a certificate of the folder's authority.
func issue(t *testing.T, dir string) {
	t.Helper()
	if err := load(t, dir).Issue(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
}

// While one authority takes the place of another, any member reaches any other,
// whichever step each has come to; afterwards the old one is believed no more.
func TestRotate_MembersReachEachOtherAtEveryStep(t *testing.T) {
	old, next := newCA(t), newCA(t)
	step := func(t *testing.T, done int) string {
		t.Helper()
		dir := member(t, old)
		for n, do := range []func(*CA) (*CA, error){
			func(c *CA) (*CA, error) { return c.Trust(dir, next) },
			func(c *CA) (*CA, error) { return c.Switch(dir) },
			func(c *CA) (*CA, error) { return c.Alone(dir) },
		} {
			if n >= done {
				break
			}
			got, err := do(load(t, dir))
			if err != nil {
				t.Fatal(err)
			}
			if kept := load(t, dir); !slices.Equal(kept.Trusted(), got.Trusted()) {
				t.Errorf("after step %d the folder believes %v, and it was said %v", n+1, kept.Trusted(), got.Trusted())
			}
			issue(t, dir)
		}
		return dir
	}
	reach := func(a, b string) error { return ask(t, serve(t, config(t, a, load(t, a))), config(t, b, load(t, b))) }
	for first := range 3 {
		for _, second := range []int{first, first + 1} {
			a, b := step(t, first), step(t, second)
			if err := reach(a, b); err != nil {
				t.Errorf("step %d is not reached from step %d: %v", first, second, err)
			}
			if err := reach(b, a); err != nil {
				t.Errorf("step %d is not reached from step %d: %v", second, first, err)
			}
		}
	}
	last := step(t, 3)
	if got := load(t, last); got.Fingerprint() != next.Fingerprint() || len(got.Trusted()) != 1 {
		t.Errorf("at the end the authority is %s, and %v are believed", got.Fingerprint(), got.Trusted())
	}
	if err := reach(last, step(t, 1)); err == nil {
		t.Error("a certificate of the old authority is believed at the end")
	}
}

func TestTrust_TakesThePlaceOfAnotherThatWasToCome(t *testing.T) {
	old, given, next := newCA(t), newCA(t), newCA(t)
	dir := member(t, old)
	for _, ca := range []*CA{given, next} {
		if _, err := load(t, dir).Trust(dir, ca); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := load(t, dir).Trusted(), []string{old.Fingerprint(), next.Fingerprint()}; !slices.Equal(got, want) {
		t.Errorf("%v are believed, want %v", got, want)
	}
	if _, err := load(t, dir).Alone(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, dir).Switch(dir); err == nil {
		t.Error("it was switched to an authority that was given up")
	}
}

func TestSeal_OpensForTheSameAuthorityOnly(t *testing.T) {
	old, next := newCA(t), newCA(t)
	text, err := old.Seal(next)
	if err != nil {
		t.Fatal(err)
	}
	got, err := load(t, member(t, old)).Open(text)
	if err != nil || got.Fingerprint() != next.Fingerprint() {
		t.Errorf("opened: %v", err)
	}
	if _, err := newCA(t).Open(text); err == nil {
		t.Error("another authority opened it")
	}
	if _, err := old.Open([]byte("{}")); err == nil {
		t.Error("what is nothing was opened")
	}
}
