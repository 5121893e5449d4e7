package web

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// waveView is one wave drawn as a basin with a mark for each of its nodes.
type waveView struct {
	api.RolloutWave
	Number int
	Look   look
	State  string // done, now, next: how the water is drawn
	Share  int    // of the width, 1 to 12
	Open   bool   // the gate before it
	Cells  *cells // nil: too many to draw one by one
	Bar    track
	Counts string // what a person hears who cannot see the marks
	Soak   string // of the spec, for people
	Day    time.Time
}

// cells is the drawing of a wave's nodes, column by column.
type cells struct {
	Width, Height int
	Marks         template.HTML
}

// waveLooks by a wave's state.
var waveLooks = map[string]look{
	api.WavePending: {"is-calm", "scheduled", "Not started"},
	api.WaveRunning: {"is-busy", "running", "Running"},
	api.WaveSoaking: {"is-busy", "soaking", "Soaking"},
	api.WaveGates:   {"is-warn", "shut", "Waits for its gates"},
	api.WaveDone:    {"is-ok", "ok", "Done"},
	api.WaveSkipped: {"is-calm", "aborted", "Skipped"},
	api.WaveAborted: {"is-calm", "aborted", "Aborted"},
}

const (
	waveCells   = 400  // nodes of a wave that are drawn one by one
	wavesWidth  = 1300 // of all waves on a wide screen, in pixels
	cellsHeight = 100
	waveShares  = 12
)

// wavesOf draws a rollout's waves, on a day in UTC. A rollout of a coordinator that knows of none
// has all its nodes in one.
func wavesOf(r api.Rollout, day time.Time) []waveView {
	waves := r.Waves
	if len(waves) == 0 {
		waves = []api.RolloutWave{{Name: "all nodes", State: map[bool]string{true: api.WaveRunning, false: api.WaveDone}[r.State.Active()],
			Total: r.Progress.Total, Updated: r.Progress.Updated, Failed: r.Progress.Failed, MaxFailures: -1}}
	}
	by := make([][]api.RolloutNode, len(waves))
	for _, n := range r.Nodes {
		if i := max(n.Wave, 1) - 1; i < len(by) {
			by[i] = append(by[i], n)
		}
	}
	shares, all := make([]int, len(waves)), 0
	most := 1
	for _, w := range waves {
		most = max(most, w.Total)
	}
	for i, w := range waves {
		shares[i] = max(1, int(math.Round(waveShares*math.Sqrt(float64(w.Total)/float64(most)))))
		all += shares[i]
	}
	out := make([]waveView, len(waves))
	for i, w := range waves {
		v := waveView{RolloutWave: w, Number: i + 1, Look: known(waveLooks, w.State), Share: shares[i], State: "next", Day: day}
		switch w.State {
		case api.WaveDone, api.WaveSkipped:
			v.State = "done"
		case api.WaveRunning, api.WaveSoaking, api.WaveGates:
			v.State = "now"
		}
		v.Open = v.State != "next"
		if stop, stands := rolloutLooks[r.State]; v.State == "now" && stands && (r.State == api.RolloutPaused || r.State == api.RolloutHalted || !r.State.Active()) {
			v.Look = stop // nothing in it starts, whatever it was at
		}
		if i < len(r.Spec.Waves) {
			v.Soak = spanText(r.Spec.Waves[i].Soak)
		} else if g := r.Spec.Grow; g != nil {
			v.Soak = spanText(g.Soak)
		}
		if v.State == "next" && !r.State.Active() {
			v.Soak = "" // it never will
		}
		p := countNodes(by[i])
		v.Counts = fmt.Sprintf("%s: %d updated, %d in work, %d waiting, %d not started, %d failed", w.Name, p.Updated, p.Updating, p.Waiting, p.Pending, p.Failed)
		if p.Skipped > 0 {
			v.Counts += fmt.Sprintf(", %d skipped", p.Skipped)
		}
		if p.Aborted > 0 {
			v.Counts += fmt.Sprintf(", %d aborted", p.Aborted)
		}
		v.Bar = newTrack(api.RolloutProgress{Total: max(w.Total, 1), Updated: w.Updated, Failed: w.Failed, Updating: p.Updating})
		if len(by[i]) <= waveCells {
			v.Cells = drawCells(by[i], wavesWidth*shares[i]/all-40)
		}
		out[i] = v
	}
	return out
}

func countNodes(list []api.RolloutNode) (p api.RolloutProgress) {
	p.Total = len(list)
	for i := range list {
		switch list[i].State {
		case api.NodeUpdated:
			p.Updated++
		case api.NodeUpdating:
			p.Updating++
		case api.NodeQueued:
			p.Waiting++
		case api.NodeBroken:
			p.Failed++
		case api.NodeSkipped:
			p.Skipped++
		case api.NodeAborted:
			p.Aborted++
		default:
			p.Pending++
		}
	}
	return p
}

// cellShapes draw a node's state in a square of 20 units, by steps from its corner.
var cellShapes = map[string]struct{ class, path string }{
	api.NodeUpdated:  {"g-ok", "m2 2h16v16h-16z"},
	api.NodeUpdating: {"g-busy", "m2 2h16v16h-16zm5 5v6h6v-6z"},
	api.NodeQueued:   {"g-wait", "m2.5 2.5h15v15h-15zm1.5 1.5v12h12v-12z"},
	api.NodeBroken:   {"g-bad", "m2 5.6l3.6-3.6 4.4 4.4 4.4-4.4 3.6 3.6-4.4 4.4 4.4 4.4-3.6 3.6-4.4-4.4-4.4 4.4-3.6-3.6 4.4-4.4z"},
	api.NodePending:  {"g-none", "m7.5 7.5h5v5h-5z"},
	api.NodeSkipped:  {"g-none", "m3 9h14v2h-14z"},
	api.NodeAborted:  {"g-none", "m4 5.4l1.4-1.4 10.6 10.6-1.4 1.4z"},
}

// cellStates are the states in the order of the legend.
var cellStates = []string{api.NodeUpdated, api.NodeUpdating, api.NodeQueued, api.NodeBroken, api.NodePending, api.NodeSkipped, api.NodeAborted}

// legendCell draws a state for the legend.
func legendCell(state string) template.HTML {
	s := cellShapes[state]
	return template.HTML(fmt.Sprintf(`<path class="%s" d="M0 0%s"/>`, s.class, s.path))
}

// drawCells draws nodes in as few columns as the width allows: the more there are,
// the smaller is each.
func drawCells(list []api.RolloutNode, width int) *cells {
	rows := 5
	for _, p := range []int{20, 14, 10, 8} {
		rows = cellsHeight / p
		if (len(list)+rows-1)/rows*p <= width {
			break
		}
	}
	cols := max(1, (len(list)+rows-1)/rows)
	c := cells{Width: cols * 20, Height: min(rows, max(len(list), 1)) * 20}
	var many, named strings.Builder
	by := map[string]*strings.Builder{}
	for i := range list {
		n := &list[i]
		s, ok := cellShapes[n.State]
		if !ok {
			s = cellShapes[api.NodePending]
		}
		x, y := i/rows*20, i%rows*20
		if n.State == api.NodeBroken || n.State == api.NodeUpdating {
			fmt.Fprintf(&named, `<path class="%s" d="M%d %d%s"><title>%s: %s</title></path>`, s.class, x, y, s.path,
				template.HTMLEscapeString(n.Node), strings.ToLower(known(rolloutNodeLooks, n.State).Word))
			continue
		}
		if by[s.class] == nil {
			by[s.class] = &strings.Builder{}
		}
		fmt.Fprintf(by[s.class], "M%d %d%s", x, y, s.path)
	}
	for _, state := range cellStates {
		if b := by[cellShapes[state].class]; b != nil {
			fmt.Fprintf(&many, `<path class="%s" d="%s"/>`, cellShapes[state].class, b.String())
			delete(by, cellShapes[state].class) // of several states
		}
	}
	c.Marks = template.HTML(many.String() + named.String())
	return &c
}

// Line is the wave's state and what is known of its times, for people.
func (w waveView) Line() template.HTML {
	word := template.HTML(template.HTMLEscapeString(w.Look.Word))
	switch {
	case w.RolloutWave.State == api.WaveSkipped:
		return word
	case w.State == "done":
		return word + " " + soonTag(w.Day, w.DoneAt)
	case w.RolloutWave.State == api.WaveSoaking && !w.SoakUntil.IsZero():
		return word + " until " + soonTag(w.Day, w.SoakUntil)
	case w.Estimate.IsZero():
		return word
	}
	return word + ", done about " + soonTag(w.Day, w.Estimate)
}

// Soaks says that it soaks, or did.
func (w waveView) Soaks() string {
	switch {
	case w.Soak == "" || w.RolloutWave.State == api.WaveSkipped:
		return ""
	case w.State == "done":
		return "soaked " + w.Soak
	case w.RolloutWave.State == api.WaveSoaking:
		return "soaks " + w.Soak
	}
	return "then soaks " + w.Soak
}

// Bound says how many may fail in it, where it has a bound of its own.
func (w waveView) Bound() string {
	switch {
	case w.MaxFailures < 0 || w.State == "done":
		return ""
	case w.MaxFailures == 0:
		return "none may fail in it"
	}
	return fmt.Sprintf("at most %d may fail in it", w.MaxFailures)
}

// budget is the failure budget as a gauge: a box for each failure that is allowed,
// then the mark at which it halts.
type budget struct {
	Failed, Max int
	Used        []string // nodes that failed and count, as far as known
	Beyond      []string // of them, those behind the mark
	Free        []struct{}
	Bar         bool // too many boxes
	Over        bool
	Ended       bool // the rollout: nothing counts any more
	Text        string
}

// budgetBoxes is how many failures have a box each.
const budgetBoxes = 12

func newBudget(r api.Rollout) budget {
	b := budget{Failed: r.Budget.Failed, Max: r.Budget.Max, Ended: !r.State.Active(), Text: string(r.Spec.MaxFailures)}
	b.Bar = b.Max > budgetBoxes || b.Failed > budgetBoxes
	b.Over = b.Failed > b.Max
	for _, n := range r.Nodes {
		if n.State == api.NodeBroken && len(b.Used) < b.Failed {
			b.Used = append(b.Used, n.Node)
		}
	}
	for len(b.Used) < min(b.Failed, budgetBoxes) {
		b.Used = append(b.Used, "a node")
	}
	if over := min(b.Max, budgetBoxes); len(b.Used) > over {
		b.Used, b.Beyond = b.Used[:over], b.Used[over:]
	}
	b.Free = make([]struct{}, max(0, min(b.Max-b.Failed, budgetBoxes)))
	return b
}

// Left says what the next failure does.
func (b budget) Left() string {
	switch left := b.Max - b.Failed; {
	case b.Ended:
		return "The rollout has ended."
	case left < 0:
		return "The budget is spent; nothing starts until somebody decides."
	case left == 0:
		return "The next failure halts the rollout."
	case left == 1:
		return "One more failure is within the budget; the one after it halts the rollout."
	default:
		return fmt.Sprintf("%d more failures are within the budget.", left)
	}
}

// gateLook is a gate's answer: no answer is not a pass.
func gateLook(g api.RolloutGate) look {
	switch {
	case g.Passes:
		return look{"is-ok", "ok", "Passes"}
	case g.Kind == "approval":
		return look{"is-warn", "approval", fmt.Sprintf("%d of %d approved", len(g.Approvals), max(g.Needed, 1))}
	case g.Checked.IsZero():
		return look{"is-calm", "waiting", "Not asked yet"}
	}
	return look{"is-bad", "failed", "Does not pass"}
}

// gatePlace says where a gate stands.
func gatePlace(g api.RolloutGate) string {
	if g.Wave == 0 {
		return "before wave 1"
	}
	return fmt.Sprintf("after wave %d", g.Wave)
}

// step is one line of what is still to come.
type step struct {
	What string
	At   time.Time
}

// stepsShown is for how many waves the page says when each is done.
const stepsShown = 8

// stepsAhead are the times that the estimate goes by: those of the next waves, and
// the end.
func stepsAhead(r api.Rollout) (out []step) {
	if !r.State.Active() {
		return nil
	}
	more := step{}
	for i, w := range r.Waves {
		switch {
		case !w.DoneAt.IsZero() || w.Estimate.IsZero():
		case len(out) < stepsShown:
			out = append(out, step{fmt.Sprintf("Wave %d, %s, done", i+1, w.Name), w.Estimate})
		default:
			more.At = w.Estimate
			more.What = fmt.Sprintf("All until wave %d, %s, done", i+1, w.Name)
		}
	}
	if more.What != "" {
		out = append(out, more)
	}
	if !r.Estimate.IsZero() {
		out = append(out, step{"Rollout ends", r.Estimate})
	}
	return out
}
