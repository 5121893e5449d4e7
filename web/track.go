package web

import (
	"fmt"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// track is a rollout's progress as one reach of water between two gates:
// lengths of it are updated, in work and failed.
type track struct {
	Label string
	Parts []trackPart
}

type trackPart struct{ Class, X, Width string }

// trackLength is the part of the drawing's width, in percent, that stands for
// all nodes; the rest is gate.
const trackLength = 97

func newTrack(p api.RolloutProgress) track {
	t := track{Label: fmt.Sprintf("%d of %d nodes updated, %d in work, %d failed", p.Updated, p.Total, p.Updating, p.Failed)}
	at := 0.0
	for _, part := range []struct {
		class string
		n     int
	}{{"d", p.Updated}, {"a", p.Updating}, {"x", p.Failed}} {
		if part.n <= 0 || p.Total <= 0 {
			continue
		}
		width := trackLength * float64(part.n) / float64(p.Total)
		t.Parts = append(t.Parts, trackPart{part.class, fmt.Sprintf("%.2f%%", at), fmt.Sprintf("%.2f%%", width)})
		at += width
	}
	return t
}

// rolloutTitle names a rollout by what it brings.
func rolloutTitle(r api.Rollout) string {
	switch {
	case r.Spec.Name != "":
		return r.Spec.Name
	case r.BundleName != "":
		return r.BundleName
	}
	return shortDigest(r.Spec.Bundle)
}

// rolloutWhere says which nodes it selects.
func rolloutWhere(s api.RolloutSpec) string {
	var parts []string
	if s.Group != "" {
		parts = append(parts, s.Group)
	}
	if s.Selector != "" {
		parts = append(parts, s.Selector)
	}
	if n := len(s.Nodes); n == 1 {
		parts = append(parts, s.Nodes[0])
	} else if n > 1 {
		parts = append(parts, fmt.Sprintf("%d named nodes", n))
	}
	if len(parts) == 0 {
		return "every node"
	}
	return strings.Join(parts, ", ")
}
