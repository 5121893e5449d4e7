package semaphore

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// cron is a time table in the form of crontab(5): minute, hour, day of month,
// month, day of week, each a bit for each value. As there, a day is meant when
// either of the two day fields names it, if both are restricted.
type cron struct {
	minute, hour, day, month, weekday uint64
	anyDay, anyWeekday                bool
}

var months = []string{"", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

func parseCron(text string) (*cron, error) {
	fields := strings.Fields(text)
	if len(fields) != 5 {
		return nil, fmt.Errorf(`%q: want five fields: minute, hour, day of month, month, day of week, such as "0 22 * * mon-fri"`, text)
	}
	var c cron
	for i, f := range []struct {
		into      *uint64
		name      string
		low, high int
		names     []string
	}{
		{&c.minute, "minute", 0, 59, nil},
		{&c.hour, "hour", 0, 23, nil},
		{&c.day, "day of month", 1, 31, nil},
		{&c.month, "month", 1, 12, months},
		{&c.weekday, "day of week", 0, 7, weekdays},
	} {
		bits, err := cronField(fields[i], f.low, f.high, f.names)
		if err != nil {
			return nil, fmt.Errorf("%q: %s: %w", text, f.name, err)
		}
		*f.into = bits
	}
	if c.weekday&(1<<7) != 0 {
		c.weekday |= 1 // 7 is Sunday too
	}
	c.anyDay, c.anyWeekday = strings.HasPrefix(fields[2], "*"), strings.HasPrefix(fields[4], "*")
	return &c, nil
}

// cronField reads a list of values, ranges and steps: "1,2", "1-5", "*/15",
// "mon-fri".
func cronField(text string, low, high int, names []string) (uint64, error) {
	var bits uint64
	for part := range strings.SplitSeq(text, ",") {
		span, stepText, hasStep := strings.Cut(part, "/")
		step := 1
		if hasStep {
			n, err := strconv.Atoi(stepText)
			if err != nil || n < 1 || n > high {
				return 0, fmt.Errorf("step %q: want 1 to %d", stepText, high)
			}
			step = n
		}
		first, last := low, high
		if span != "*" {
			from, to, isRange := strings.Cut(span, "-")
			var ok bool
			if first, ok = cronValue(from, low, high, names); !ok {
				return 0, fmt.Errorf("%q: want %d to %d, or *", from, low, high)
			}
			switch last = first; {
			case isRange:
				if last, ok = cronValue(to, low, high, names); !ok || last < first {
					return 0, fmt.Errorf("%q: want %d to %d, and not below %q", to, low, high, from)
				}
			case hasStep:
				last = high
			}
		}
		for v := first; v <= last; v += step {
			bits |= 1 << v
		}
	}
	return bits, nil
}

func cronValue(text string, low, high int, names []string) (int, bool) {
	for i, name := range names {
		if name != "" && strings.EqualFold(text, name) {
			return i, true
		}
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= low && n <= high
}

func (c *cron) onDate(date time.Time) bool {
	if c.month&(1<<date.Month()) == 0 {
		return false
	}
	day, weekday := c.day&(1<<date.Day()) != 0, c.weekday&(1<<date.Weekday()) != 0
	if c.anyDay || c.anyWeekday {
		return day && weekday
	}
	return day || weekday
}

// minutes after midnight at which it fires on a day that is meant.
func (c *cron) minutes() []int {
	var list []int
	for h := range 24 {
		for m := range 60 {
			if c.hour&(1<<h) != 0 && c.minute&(1<<m) != 0 {
				list = append(list, h*60+m)
			}
		}
	}
	return list
}
