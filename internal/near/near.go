// Package near finds the names that a person may have meant by one that does
// not exist.
package near

import "slices"

// To lists those of names that differ from name by a letter less, more, other, or
// swapped with the next; by two of these, if it has six letters or more.
func To(name string, names []string) []string {
	most := 1
	if len(name) >= 6 {
		most = 2
	}
	var list []string
	for _, n := range names {
		if n != name && distance(name, n, most) <= most {
			list = append(list, n)
		}
	}
	slices.SortStableFunc(list, func(a, b string) int { return distance(name, a, most) - distance(name, b, most) })
	return list
}

// distance is the number of letters to put in, take out, replace, or swap with the
// next (optimal string alignment); anything above most is some number above it.
func distance(a, b string, most int) int {
	if len(a)-len(b) > most || len(b)-len(a) > most {
		return most + 1
	}
	// before, last and now are rows of the table: the distances of a's first i-2, i-1
	// and i letters from each beginning of b.
	before, last, now := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		now[0] = i
		for j := 1; j <= len(b); j++ {
			other := 1
			if a[i-1] == b[j-1] {
				other = 0
			}
			now[j] = min(last[j]+1, now[j-1]+1, last[j-1]+other)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], before[j-2]+1)
			}
		}
		before, last, now = last, now, before
	}
	return last[len(b)]
}
