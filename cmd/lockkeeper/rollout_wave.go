package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// waveForm is how a wave is written on the command line.
const waveForm = `"SIZE [soak=DURATION] [max-failures=N] [approve] [name=NAME]", with SIZE a number of nodes, a percentage such as 10%, both with the waves before, labels such as zone=a, or rest`

// waveFlags are the waves as flags say them.
type waveFlags struct {
	set   *pflag.FlagSet
	waves []string
	grow  float64
	soak  time.Duration
}

func (w *waveFlags) flags(flags *pflag.FlagSet) {
	w.set = flags
	flags.StringArrayVar(&w.waves, "wave", nil, `a step, one after another (repeatable): 1, 10%, zone=a or rest, as in "1 soak=10m approve"; what is left is a last wave`)
	flags.Float64Var(&w.grow, "grow", 0, "waves of 1 node, then so many times as many each")
	flags.DurationVar(&w.soak, "soak", 0, "how long to wait after each of these waves, without a soak of its own")
}

// into puts the waves into a spec.
func (w *waveFlags) into(spec *api.RolloutSpec) error {
	soak := ""
	if w.set.Changed("soak") {
		if w.soak <= 0 {
			return usagef("--soak %s: want more than 0", w.soak)
		}
		soak = shortDuration(w.soak.String())
	}
	growing := w.set.Changed("grow")
	switch {
	case growing && len(w.waves) > 0:
		return usagef("--wave and --grow both say which waves: want one of them")
	case growing && (w.grow <= 1 || w.grow > 100):
		return usagef("--grow %v: want more than 1 and at most 100", w.grow)
	case growing:
		spec.Grow = &api.GrowSpec{Factor: w.grow, Soak: soak}
		return nil
	case len(w.waves) == 0 && soak != "":
		return usagef("--soak goes with --wave or --grow")
	}
	rest := len(w.waves) == 0
	for i, text := range w.waves {
		wave, err := parseWave(text)
		if err != nil {
			return err
		}
		all := wave.Percent == 100 || wave.Count == 0 && wave.Percent == 0 && wave.Selector == ""
		if all && i < len(w.waves)-1 {
			return usagef("--wave %q has all nodes that are left: only the last one may", text)
		}
		rest = rest || all
		if wave.Soak == "" {
			wave.Soak = soak
		}
		spec.Waves = append(spec.Waves, wave)
	}
	if !rest {
		spec.Waves = append(spec.Waves, api.WaveSpec{})
	}
	return nil
}

// parseWave reads one --wave. Whether its values can be is checked with the
// whole spec.
func parseWave(text string) (api.WaveSpec, error) {
	var w api.WaveSpec
	bad := func(format string, args ...any) (api.WaveSpec, error) {
		return w, usagef("--wave %q: %s: want %s", text, fmt.Sprintf(format, args...), waveForm)
	}
	words, name, named := strings.Cut(text, "name=")
	if named {
		if w.Name = strings.TrimSpace(name); w.Name == "" {
			return bad("the name is empty")
		}
	}
	fields := strings.Fields(words)
	if len(fields) == 0 {
		return bad("no size")
	}
	size := fields[0]
	number, isPercent := strings.CutSuffix(size, "%")
	n, err := strconv.Atoi(number)
	switch {
	case size == "rest":
	case strings.Contains(size, "="):
		w.Selector = size
	case err != nil || n < 1:
		return bad("%q is no size", size)
	case isPercent && n > 100:
		return bad("%s is more than all", size)
	case isPercent:
		w.Percent = n
	default:
		w.Count = n
	}
	for _, f := range fields[1:] {
		key, value, _ := strings.Cut(f, "=")
		switch {
		case key == "soak" && w.Soak == "":
			if d, err := time.ParseDuration(value); err != nil || d <= 0 {
				return bad("the soak %q is no duration such as 10m", value)
			}
			w.Soak = value
		case key == "max-failures" && w.MaxFailures == "":
			if _, err := semaphore.ParseSlots(value); err != nil {
				return bad("max-failures %q is neither a number nor a percentage", value)
			}
			w.MaxFailures = api.Slots(value)
		case f == "approve" && w.Gates == nil:
			w.Gates = []api.GateSpec{{Name: "approval", Approval: &api.ApprovalGate{}}}
		default:
			return bad("%q is one too many", f)
		}
	}
	return w, nil
}
