package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Table writes rows in aligned columns under a heading. Cells must not hold
// tabs or line ends; Cell takes them out.
func Table(w io.Writer, heading []string, rows [][]string) error {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	for _, row := range append([][]string{heading}, rows...) {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	// An empty last cell leaves blanks at the end of its line.
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// Cell makes any text fit into one cell of a table: what a terminal would act
// on is shown, not sent.
func Cell(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t' || r == '\v' || r == '\f':
			return ' '
		case r < 0x20 || r >= 0x7f && r < 0xa0:
			return '\uFFFD'
		}
		return r
	}, s)
}

// Age is the time from t to now in its greatest unit ("12s", "4m", "3h", "6d"),
// "-" for the zero time and "now" within a second or ahead of now.
func Age(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return Span(now.Sub(t))
}

// Span is a duration in its greatest unit, with the next one where the greatest
// alone would be vague: "45s", "4m", "1h20m", "3h", "2d4h", "9d".
func Span(d time.Duration) string {
	switch {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + "s"
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	case d < 24*time.Hour:
		return units(d, time.Hour, "h", time.Minute, "m")
	}
	return units(d, 24*time.Hour, "d", time.Hour, "h")
}

func units(d, big time.Duration, bigName string, small time.Duration, smallName string) string {
	n, rest := d/big, d%big/small
	if n >= 3 || rest == 0 {
		return strconv.Itoa(int(n)) + bigName
	}
	return strconv.Itoa(int(n)) + bigName + strconv.Itoa(int(rest)) + smallName
}

// Bytes is a size in binary units: "512 B", "1.4 KiB", "30 MiB".
func Bytes(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, unit := float64(n), 0
	for v >= 1024 && unit < 5 {
		v /= 1024
		unit++
	}
	digits := 1
	if v >= 10 {
		digits = 0
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + " " + "KMGTP"[unit-1:unit] + "iB"
}
