package bundle

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Architectures lists what requires.arch may name.
var Architectures = []string{"386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x"}

// Bounds of lists in a manifest.
const (
	maxUnits    = 50
	maxProbes   = 50
	maxRequired = 50 // labels, variables of os-release, and values of each
)

var (
	labelForm    = regexp.MustCompile(`^[\p{L}\p{M}\p{N}\p{P}\p{S} ]{1,128}$`)
	variableForm = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,62}$`)
)

func (r *Requires) validate() error {
	if r == nil {
		return nil
	}
	if len(r.Arch)+len(r.Labels)+len(r.OSRelease) == 0 {
		return problem("requires", "nothing", "arch, labels or os_release in it, or no requires at all")
	}
	if len(r.Arch) > len(Architectures) {
		return problem("requires.arch", strconv.Itoa(len(r.Arch))+" architectures", strings.Join(Architectures, ", "))
	}
	for _, a := range r.Arch {
		if !slices.Contains(Architectures, a) {
			return problem("requires.arch", strconv.Quote(clip(a)), strings.Join(Architectures, ", "))
		}
	}
	if err := requiredValues("requires.labels", r.Labels, labelForm, "names of labels such as zone"); err != nil {
		return err
	}
	return requiredValues("requires.os_release", r.OSRelease, variableForm, "variables of os-release such as ID and VERSION_ID")
}

func requiredValues(where string, values map[string][]string, name *regexp.Regexp, names string) error {
	if len(values) > maxRequired {
		return problem(where, strconv.Itoa(len(values))+" names", "at most "+strconv.Itoa(maxRequired))
	}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if !name.MatchString(k) {
			return problem(where, strconv.Quote(clip(k)), names)
		}
		if n := len(values[k]); n < 1 || n > maxRequired {
			return problem(where+"."+k, strconv.Itoa(n)+" values", "1 to "+strconv.Itoa(maxRequired)+", of which the host must have one")
		}
		for _, v := range values[k] {
			if len(v) > 255 || !printable(v) {
				return problem(where+"."+k, strconv.Quote(clip(v)), "values of at most 255 printable bytes")
			}
		}
	}
	return nil
}
