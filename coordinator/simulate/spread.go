package simulate

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Spread is a time that differs from host to host: evenly between Mean-By and
// Mean+By.
type Spread struct{ Mean, By time.Duration }

// ParseSpread reads "90s", "90s±30s" and, for keyboards without that sign,
// "90s+-30s".
func ParseSpread(text string) (Spread, error) {
	wrong := func() (Spread, error) {
		return Spread{}, fmt.Errorf(`%q: want a time such as 90s, or one that differs such as 90s±30s (or 90s+-30s), of at most a day and not below 0`, text)
	}
	mean, by, differs := strings.Cut(strings.Replace(text, "+-", "±", 1), "±")
	var s Spread
	var err error
	if s.Mean, err = time.ParseDuration(strings.TrimSpace(mean)); err != nil {
		return wrong()
	}
	if differs {
		if s.By, err = time.ParseDuration(strings.TrimSpace(by)); err != nil {
			return wrong()
		}
	}
	if s.By < 0 || s.Mean < s.By || s.Mean > 24*time.Hour {
		return wrong()
	}
	return s, nil
}

// String is the form that ParseSpread reads.
func (s Spread) String() string {
	if s.By == 0 {
		return s.Mean.String()
	}
	return s.Mean.String() + "±" + s.By.String()
}

func (s Spread) draw(r *rand.Rand) time.Duration {
	if s.By == 0 {
		return s.Mean
	}
	return (s.Mean - s.By + time.Duration(r.Int64N(int64(2*s.By)+1))).Round(time.Millisecond)
}
