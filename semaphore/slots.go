package semaphore

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Slots is a number of nodes, or a percentage of a group's members. In JSON it
// is a number (2) or a text ("5%").
type Slots struct {
	N       int
	Percent bool
}

// ParseSlots reads "2" or "5%".
func ParseSlots(s string) (Slots, error) {
	text, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	n, err := strconv.Atoi(text)
	if err != nil {
		return Slots{}, fmt.Errorf("slots %q: want a whole number such as 2, or a percentage such as 5%%", s)
	}
	v := Slots{N: n, Percent: percent}
	return v, v.Validate()
}

// Validate reports a number below 0 or a percentage over 100.
func (s Slots) Validate() error {
	switch {
	case s.N < 0:
		return fmt.Errorf("slots %s: must not be below 0", s)
	case s.Percent && s.N > 100:
		return fmt.Errorf("slots %s: a percentage is at most 100%%", s)
	case s.N > 100_000:
		return fmt.Errorf("slots %s: at most 100000", s)
	}
	return nil
}

// Of is the number of slots among members: a percentage is rounded down, and
// at least 1 unless it is 0 %.
func (s Slots) Of(members int) int {
	if !s.Percent {
		return s.N
	}
	if s.N == 0 {
		return 0
	}
	return max(1, members*s.N/100)
}

// String is the form that ParseSlots reads.
func (s Slots) String() string {
	if s.Percent {
		return strconv.Itoa(s.N) + "%"
	}
	return strconv.Itoa(s.N)
}

// MarshalJSON writes a number, or a text for a percentage.
func (s Slots) MarshalJSON() ([]byte, error) {
	if s.Percent {
		return json.Marshal(s.String())
	}
	return json.Marshal(s.N)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Slots) UnmarshalJSON(b []byte) error {
	text := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	v, err := ParseSlots(text)
	if err != nil {
		return err
	}
	*s = v
	return nil
}

// Duration is a time.Duration that JSON writes as text ("30m0s").
type Duration time.Duration

// MarshalJSON writes the text of time.Duration.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads the text of time.Duration; it must not be negative.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("duration %s: want a text such as %q", b, "30m")
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 {
		return fmt.Errorf("duration %q: want a text such as %q", text, "30m")
	}
	*d = Duration(v)
	return nil
}
