package membership

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// members are written as letters: L leads, v has a vote, l is new and has caught
// up, s is new and behind, n never ran; a dash behind one means that it cannot be
// reached. The id is the place in the text.
func members(text string) []api.Member {
	var list []api.Member
	for i, r := range text {
		if r == '-' {
			list[len(list)-1].Reachable = false
			continue
		}
		m := api.Member{ID: fmt.Sprint(i), Name: fmt.Sprintf("c%d-abcd", i), Role: "follower", Started: true, Reachable: true, Applied: 1000}
		switch r {
		case 'L':
			m.Role = "leader"
		case 'l':
			m.Role, m.Applied = "learner", 900
		case 's':
			m.Role, m.Applied = "learner", 899
		case 'n':
			m.Role, m.Applied, m.Started, m.Name = "learner", 0, false, ""
		}
		list = append(list, m)
	}
	return list
}

func TestNext_VotesAreGivenSoThatTheirNumberIsOdd(t *testing.T) {
	for text, want := range map[string]string{
		"L":     "",
		"Ll":    "", // of two voters neither may die
		"Lls":   "", // the second comes soon
		"Lln":   "",
		"Lll":   "p1 p2",
		"Lv":    "",
		"Lvl":   "p2", // one that was replaced
		"Lvll":  "p2", // the other waits
		"Lvvl":  "",
		"Lvvll": "p3 p4",
		"Lvs":   "",
		"Lvn":   "",
	} {
		if got := steps(Next(members(text), nil, time.Now())); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func steps(list []Step) string {
	var out []string
	for _, s := range list {
		if s.Promote != "" {
			out = append(out, "p"+s.Promote)
		}
		if s.Evict != "" {
			out = append(out, "e"+s.Evict)
		}
	}
	return strings.Join(out, " ")
}

func TestNext_OneThatNeverComesIsLetGoAfterFiveMinutes(t *testing.T) {
	now := time.Now()
	since := map[string]time.Time{"1": now.Add(-EvictAfter)}
	if got := steps(Next(members("Lns"), since, now)); got != "e1" {
		t.Errorf("after %s: %q, want e1", EvictAfter, got)
	}
	if got := steps(Next(members("Lns"), since, now.Add(-time.Second))); got != "" {
		t.Errorf("a second before: %q", got)
	}
	since = map[string]time.Time{"1": now.Add(-time.Hour)}
	if got := steps(Next(members("Lvv"), since, now)); got != "" {
		t.Errorf("one with a vote: %q", got)
	}
}

func TestMayRemove_NeverTheLastNorTheQuorum(t *testing.T) {
	for _, c := range []struct {
		text, id, says string
	}{
		{"L", "0", "the last member with a vote"},
		{"Ll", "0", "the last member with a vote"},
		{"Ll", "1", ""},
		{"Lv", "1", ""},
		{"Lv-", "0", "bring c1-abcd back first"},
		{"Lv-", "1", ""},
		{"Lvv", "2", ""},
		{"Lvv-", "2", ""}, // the one that is gone itself
		{"Lv-v", "3", "bring c1-abcd back first"},
		{"Lvvv-v", "1", ""},
		{"Lvv-v-v", "1", "of which 2 can be reached and 3 are needed"},
		{"Lvv", "9", "no such member"},
	} {
		err := MayRemove(members(c.text), c.id)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("removing %s of %s: %v, want %q", c.id, c.text, err, c.says)
		}
	}
}

func TestFind_ByIDNameOrTheBeginningOfOneName(t *testing.T) {
	list := append(members("Lv"), api.Member{ID: "f00", Role: "learner"}, api.Member{ID: "7", Name: "c1-beef"})
	for what, want := range map[string]string{"0": "0", "c0-abcd": "0", "c0": "0", "f00": "f00", "c1-b": "7"} {
		if m, err := Find(list, what); err != nil || m.ID != want {
			t.Errorf("%q is %q %v, want %s", what, m.ID, err, want)
		}
	}
	for _, what := range []string{"", "c", "c1", "c9"} {
		if m, err := Find(list, what); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q is %q %v, want nobody", what, m.ID, err)
		}
	}
}

func TestWarnings_OfEvenNumbersAndOfThoseThatWait(t *testing.T) {
	for text, want := range map[string]string{
		"L": "", "Lvv": "", "Lv": "an even number", "Lvvv": "bears the loss of 1, as 3 would", "Ll": "waits for another", "Lll": "are catching up",
	} {
		got := strings.Join(Warnings(members(text)), "; ")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestSuccessor_IsOneThatCanLead(t *testing.T) {
	for text, want := range map[string]string{"L": "", "Ll": "", "Lv": "1", "Lv-v": "3", "Lv-": ""} {
		if got := Successor(members(text)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
