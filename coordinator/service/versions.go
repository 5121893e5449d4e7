package service

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// minorsApart is how many minor versions agent and coordinator may be apart.
const minorsApart = 1

// versionsApart groups the agents whose version is too far from that of this
// coordinator. They are served all the same. A version that is none, as of a
// program built from no release, is not judged.
func versionsApart(o *overview, own string) []api.Attention {
	return grouped(o, func(n *api.Node) bool {
		return n.Via == string(semaphore.ViaAgent) && tooFar(n.Report.Version, own)
	}, func(group string, nodes []*api.Node) api.Attention {
		counts := map[string]int{}
		for _, n := range nodes {
			counts[n.Report.Version]++
		}
		var versions []string
		for _, v := range slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b)) }) {
			if len(versions) == namesShown {
				versions = append(versions, "others")
				break
			}
			versions = append(versions, v)
		}
		verb := "are"
		if len(nodes) == 1 {
			verb = "is"
		}
		return api.Attention{
			Kind: attentionVersions, Severity: warn,
			Title: fmt.Sprintf("%d of the agents in group %s %s more than one minor version away from this coordinator", len(nodes), group, verb),
			Detail: fmt.Sprintf("%s: version %s, and this coordinator has %s. They are served, and nobody tested that they understand each other. Update whichever is behind.",
				names(nodes), strings.Join(versions, ", "), own),
		}
	})
}

func tooFar(a, b string) bool {
	majorA, minorA, okA := minorOf(a)
	majorB, minorB, okB := minorOf(b)
	return okA && okB && (majorA != majorB || max(minorA-minorB, minorB-minorA) > minorsApart)
}

// minorOf reads the first two numbers of a version such as v1.4.0-rc.1.
func minorOf(version string) (major, minor int, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 3 {
		return 0, 0, false
	}
	major, errMajor := strconv.Atoi(parts[0])
	minor, errMinor := strconv.Atoi(parts[1])
	released := major > 0 || minor > 0 // v0.0.0-… is a commit that no release came before
	return major, minor, errMajor == nil && errMinor == nil && major >= 0 && minor >= 0 && released
}
