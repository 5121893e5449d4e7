package rollout

import (
	"context"
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// fitting bounds how many openings of a rollout's window are held against those
// of a group.
const fitting = 400

// Fit finds windows in which a rollout could do nothing: shorter than an update
// usually takes in one of the groups, or never open together with the group's
// own. usual is how long that is, 0 where nothing is on record.
func Fit(spec *api.RolloutSpec, groups []semaphore.State, usual func(group string) time.Duration, now time.Time) (wrong, doubtful []api.FieldError) {
	windows, problems := Windows(spec.Windows)
	if len(problems) > 0 {
		return problems, nil
	}
	for i := range groups {
		g := &groups[i]
		takes := usual(g.Group)
		for k := range windows {
			path := fmt.Sprintf("windows[%d].duration", k)
			if lasts := time.Duration(windows[k].Duration); takes > 0 && lasts < takes {
				wrong = append(wrong, api.FieldError{Path: path, Detail: fmt.Sprintf(
					"a window of %s holds no update of group %s, which usually takes %s: want at least %s", short(lasts), g.Group, short(takes), short(takes))})
			}
		}
		longest := time.Duration(0)
		for _, w := range g.Spec.Windows {
			longest = max(longest, time.Duration(w.Duration))
		}
		if longest > 0 && takes > longest {
			doubtful = append(doubtful, api.FieldError{Path: "group", Detail: fmt.Sprintf(
				"the windows of group %s last %s at most, and an update there usually takes %s: it will be out of service beyond them", g.Group, short(longest), short(takes))})
		}
		if len(windows) > 0 && len(g.Spec.Windows) > 0 && !together(windows, g.Spec.Windows, now) {
			wrong = append(wrong, api.FieldError{Path: "windows", Detail: fmt.Sprintf(
				"none is ever open while one of group %s is, so that nothing could start there: want windows that overlap those of the group", g.Group)})
		}
	}
	return wrong, doubtful
}

// together reports whether two lists of windows ever let something start at the
// same moment: when either opens, the other being open.
func together(a, b []semaphore.Window, now time.Time) bool {
	starts := func(list []semaphore.Window, t time.Time) bool { return semaphore.OutsideWindows(list, t) == nil }
	for _, lists := range [][2][]semaphore.Window{{a, b}, {b, a}} {
		for i := range lists[0] {
			t := now
			for range fitting {
				if starts(lists[0], t) && starts(lists[1], t) {
					return true
				}
				span, found := lists[0][i].Next(t)
				if !found {
					break
				}
				t = span.Start
			}
		}
	}
	return false
}

// fits refuses windows in which a rollout of these nodes could do nothing.
func (e *Engine) fits(ctx context.Context, spec *api.RolloutSpec, nodes []Selected) *api.Error {
	if len(spec.Windows) == 0 {
		return nil
	}
	seen := map[string]bool{}
	var groups []semaphore.State
	for _, n := range nodes {
		if seen[n.Group] {
			continue
		}
		seen[n.Group] = true
		if s, ok := e.cfg.Semaphores.Look(n.Group); ok {
			groups = append(groups, s)
		}
	}
	wrong, _ := Fit(spec, groups, func(group string) time.Duration {
		if e.cfg.Lasted == nil {
			return 0
		}
		p := newPace(group, nil, e.cfg.Lasted(ctx, group))
		if p.assumed {
			return 0
		}
		return p.mean()
	}, e.cfg.Now())
	return invalid(wrong)
}

// unfit are the doubts about windows that do not keep it from being started.
func (p *planner) unfit() []api.FieldError {
	_, doubtful := Fit(p.spec, p.groupStates(), p.usual, p.now)
	return doubtful
}

func (p *planner) groupStates() (out []semaphore.State) {
	for _, g := range p.out.Groups {
		if s, ok := p.e.cfg.Semaphores.Look(g.Group); ok {
			out = append(out, s)
		}
	}
	return out
}

func (p *planner) usual(group string) time.Duration {
	pace := p.paces[group]
	if pace.assumed {
		return 0
	}
	return pace.mean()
}
