package web

import (
	"fmt"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// track is a rollout's progress as reaches of water, one for each wave behind its
// gate: lengths of each are updated, in work and failed.
type track struct {
	Label   string
	Reaches []reach
	Parts   []trackPart
}

type reach struct {
	X, Width string
	Parts    []trackPart
}

type trackPart struct{ Class, X, Width string }

// trackLength is the part of a reach's width, in percent, that stands for all of
// its nodes; the rest is gate.
const trackLength = 97

// trackWaves is how many waves are drawn apart.
const trackWaves = 8

func newTrack(p api.RolloutProgress) track {
	return track{Label: fmt.Sprintf("%d of %d nodes updated, %d in work, %d failed", p.Updated, p.Total, p.Updating, p.Failed), Parts: partsOf(p)}
}

// trackOf draws each wave as long as any other: how far it is shows, not how
// large.
func trackOf(r api.Rollout) track {
	t := newTrack(r.Progress)
	waves := r.Waves
	if len(waves) < 2 || len(waves) > trackWaves {
		t.Reaches = []reach{{"0%", "100%", t.Parts}}
		return t
	}
	wide := 100 / float64(len(waves))
	for i, w := range waves {
		p := api.RolloutProgress{Total: w.Total, Updated: w.Updated, Failed: w.Failed}
		if i+1 == r.Wave {
			p.Updating = r.Progress.Updating
		}
		t.Reaches = append(t.Reaches, reach{percentText(float64(i) * wide), percentText(wide), partsOf(p)})
	}
	if r.Wave > 0 {
		t.Label += fmt.Sprintf("; wave %d of %d", r.Wave, len(waves))
	}
	return t
}

func partsOf(p api.RolloutProgress) (out []trackPart) {
	at := 0.0
	for _, part := range []struct {
		class string
		n     int
	}{{"d", p.Updated}, {"a", p.Updating}, {"x", p.Failed}} {
		if part.n <= 0 || p.Total <= 0 {
			continue
		}
		width := min(trackLength*float64(part.n)/float64(p.Total), trackLength-at)
		out = append(out, trackPart{part.class, percentText(at), percentText(width)})
		at += width
	}
	return out
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
