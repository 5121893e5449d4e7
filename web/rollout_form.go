package web

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// rolloutForm is the input of a new rollout as typed, and its preview.
type rolloutForm struct {
	Spec     api.RolloutSpec
	Start    string
	Waves    []waveInput
	Key      string // the same for every post of this form: one rollout
	Like     string // the rollout that it was begun from
	Beyond   []string
	Bundles  []api.Bundle
	Groups   []api.Group
	Plan     *api.Plan
	Timeline *planStrip
	First    []firstNode
}

// waveInput is one row of the waves. A row without a size is not a wave; without
// any there is one wave of all nodes.
type waveInput struct {
	Number   int
	UpTo     string // "1", "10%", or "100%" for all that are left
	Soak     string
	Gate     string // a PromQL query that must pass after it
	Approval bool
}

// waveInputs is how many waves the form has room for.
const waveInputs = 5

// firstNode is one of the first hosts of a plan.
type firstNode struct {
	api.PlanNode
	Wave string
}

// firstNodes is how many of them are shown.
const firstNodes = 8

func (s *server) showNewRollout(w http.ResponseWriter, r *http.Request) {
	in := r.URL.Query()
	f := rolloutForm{Key: rand.Text(), Spec: api.RolloutSpec{Bundle: in.Get("bundle"), Group: in.Get("group"), Selector: in.Get("selector"), MaxFailures: "0"}}
	var p *problem
	if id := in.Get("from"); id != "" {
		like, err := s.backend.Rollout(r.Context(), id)
		if err != nil {
			p = newProblem(w, "No such rollout to begin from", err)
		} else {
			f.Spec, f.Like = like.Spec, like.ID
			f.Spec.Start, f.Spec.Reason = time.Time{}, ""
			if f.Spec.MaxFailures == "" {
				f.Spec.MaxFailures = "0"
			}
		}
	}
	if in.Get("drifted") != "" {
		if err := s.bringBack(r.Context(), &f, in); err != nil {
			p = newProblem(w, "Nothing to bring back", err)
		}
	}
	if p == nil {
		p = s.unknownChoice(w, r, f.Spec)
	}
	for i := range waveInputs {
		row := waveInput{Number: i + 1}
		if i < len(f.Spec.Waves) {
			row = inputOf(i, f.Spec.Waves[i])
		}
		f.Waves = append(f.Waves, row)
	}
	if f.Like != "" {
		f.Beyond = f.beyond(f.Spec)
	}
	s.showRolloutForm(w, r, f, p)
}

// unknownChoice is what an address asks to roll out that is not here: the form
// would seem to have chosen something else.
func (s *server) unknownChoice(w http.ResponseWriter, r *http.Request, spec api.RolloutSpec) *problem {
	if spec.Bundle != "" {
		if _, err := s.backend.Bundle(r.Context(), spec.Bundle); err != nil {
			return newProblem(w, "Choose another bundle", err)
		}
	}
	if spec.Group != "" {
		if _, err := s.backend.Group(r.Context(), spec.Group); err != nil {
			return newProblem(w, "Choose another group", err)
		}
	}
	return nil
}

// LostBundle is the digest that was asked for if no bundle has it.
func (f rolloutForm) LostBundle() string {
	if slices.ContainsFunc(f.Bundles, func(b api.Bundle) bool { return b.Digest == f.Spec.Bundle }) {
		return ""
	}
	return f.Spec.Bundle
}

// LostGroup is the group that was asked for if there is none of that name.
func (f rolloutForm) LostGroup() string {
	if slices.ContainsFunc(f.Groups, func(g api.Group) bool { return g.Name == f.Spec.Group }) {
		return ""
	}
	return f.Spec.Group
}

func inputOf(i int, w api.WaveSpec) waveInput {
	row := waveInput{Number: i + 1, Soak: w.Soak, UpTo: "100%"}
	switch {
	case w.Count > 0:
		row.UpTo = strconv.Itoa(w.Count)
	case w.Percent > 0:
		row.UpTo = strconv.Itoa(w.Percent) + "%"
	}
	for _, g := range w.Gates {
		switch {
		case g.Approval != nil:
			row.Approval = true
		case g.PromQL != nil:
			row.Gate = fmt.Sprintf("%s %s %s", g.PromQL.Query, g.PromQL.Compare, strconv.FormatFloat(g.PromQL.Value, 'g', -1, 64))
		}
	}
	return row
}

// showRolloutForm fills the choices in, and previews what is chosen.
func (s *server) showRolloutForm(w http.ResponseWriter, r *http.Request, f rolloutForm, p *problem) {
	var err error
	if f.Bundles, err = s.backend.Bundles(r.Context()); err != nil && p == nil {
		p = newProblem(w, "Bundles not listed", err)
	}
	if st, serr := s.backend.Status(r.Context()); serr == nil {
		f.Groups = st.Groups
	}
	s.showForm(w, r, "rollout-new", "rollouts", "New rollout", f, p)
}

// typedRollout reads the form. What is not understood is named by its field.
func typedRollout(r *http.Request) (rolloutForm, error) {
	text := func(name string) string { return strings.TrimSpace(r.PostFormValue(name)) }
	f := rolloutForm{Key: r.PostFormValue("key"), Start: text("start"), Spec: api.RolloutSpec{
		Bundle: text("bundle"), Group: text("group"), Selector: text("selector"), Name: text("name"), Reason: text("reason"),
		MaxFailures: api.Slots(text("max_failures")), AutoRollback: text("auto_rollback"), Conflict: text("conflict"), ProgressDeadline: text("progress_deadline"),
		Nodes: listedNodes(r.PostFormValue("nodes")), NeedsReboot: r.PostFormValue("needs_reboot") != "",
	}}
	var fields []api.FieldError
	f.Spec.Start = momentOf("start", f.Start, &fields)
	for i := range waveInputs {
		at := "wave" + strconv.Itoa(i+1) + "_"
		row := waveInput{Number: i + 1, UpTo: text(at + "upto"), Soak: text(at + "soak"), Gate: text(at + "gate"), Approval: r.PostFormValue(at+"approval") != ""}
		f.Waves = append(f.Waves, row)
		if row.blank() {
			continue
		}
		f.Spec.Waves = append(f.Spec.Waves, row.spec(at, &fields))
	}
	if fields != nil {
		return f, &api.Error{Kind: api.Invalid, Detail: "the form is not understood", Fields: fields}
	}
	return f, nil
}

// blank reports that the row is no wave.
func (row waveInput) blank() bool {
	return row.UpTo == "" && row.Soak == "" && row.Gate == "" && !row.Approval
}

// waveOf is a path into a wave of a spec.
var waveOf = regexp.MustCompile(`^waves\[(\d+)\](?:\.(\w+))?`)

// inRows names faults in waves by the rows of the form: the service counts those
// that were typed, from 0.
func (f rolloutForm) inRows(err error) error {
	var e *api.Error
	if !errors.As(err, &e) {
		return err
	}
	rows := slices.DeleteFunc(slices.Clone(f.Waves), waveInput.blank)
	named := *e
	named.Fields = slices.Clone(e.Fields)
	for i, field := range named.Fields {
		m := waveOf.FindStringSubmatch(field.Path)
		if m == nil {
			continue
		}
		n, err := strconv.Atoi(m[1])
		if err != nil || n >= len(rows) {
			continue
		}
		part := map[string]string{"soak": "soak", "gates": "gate"}[m[2]]
		if part == "" {
			part = "upto"
		}
		named.Fields[i].Path = fmt.Sprintf("wave%d_%s", rows[n].Number, part)
		named.Detail = "the form is not understood" // its fields say all
	}
	return &named
}

// rowWords say which input of a wave a fault is about, empty for any other.
func rowWords(path string) string {
	for part, word := range map[string]string{"_upto": "up to", "_soak": "soak", "_gate": "PromQL"} {
		if row, of := strings.CutSuffix(path, part); of && strings.HasPrefix(row, "wave") {
			return "Wave " + strings.TrimPrefix(row, "wave") + ", " + word
		}
	}
	return ""
}

// spec is the wave that a row asks for.
func (row waveInput) spec(at string, fields *[]api.FieldError) (w api.WaveSpec) {
	w.Soak = row.Soak
	size := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(row.UpTo), "nodes"), "node")
	n, percent := strings.CutSuffix(strings.TrimSpace(size), "%")
	v, err := strconv.Atoi(strings.TrimSpace(n))
	switch {
	case strings.TrimSpace(size) == "rest", percent && v == 100 && err == nil:
		// no bound: all that are left
	case err != nil || v < 1:
		*fields = append(*fields, api.FieldError{Path: at + "upto", Detail: strconv.Quote(row.UpTo) + ": want up to how many nodes, such as 1, 10% or 100%"})
	case percent:
		w.Percent = v
	default:
		w.Count = v
	}
	if row.Gate != "" {
		g, problem := promqlGate(row.Gate)
		if problem != "" {
			*fields = append(*fields, api.FieldError{Path: at + "gate", Detail: problem})
		}
		w.Gates = append(w.Gates, g)
	}
	if row.Approval {
		w.Gates = append(w.Gates, api.GateSpec{Name: "approval", Approval: &api.ApprovalGate{}})
	}
	return w
}

// promqlGate reads "QUERY < 0.01": the comparison is the last one in the text.
func promqlGate(text string) (g api.GateSpec, problem string) {
	at := strings.LastIndexAny(text, "<>=") // the last of a comparison's one or two
	op := ""
	if at > 0 {
		op = text[at : at+1]
		if strings.ContainsRune("<>=!", rune(text[at-1])) {
			at--
			op = text[at : at+2]
		}
	}
	wrong := strconv.Quote(text) + ": want a PromQL query, a comparison and a number, such as sum(rate(http_errors[5m])) < 0.5"
	if at < 1 {
		return g, wrong
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(text[at+len(op):]), 64)
	if err != nil || op == "=" {
		return g, wrong
	}
	return api.GateSpec{PromQL: &api.PromQLGate{Query: strings.TrimSpace(text[:at]), Compare: op, Value: v}}, ""
}

func (s *server) newRollout(w http.ResponseWriter, r *http.Request) {
	f, err := typedRollout(r)
	if err != nil {
		s.showRolloutForm(w, r, f, newProblem(w, "Rollout not started", err))
		return
	}
	if r.PostFormValue("do") == "plan" {
		plan, err := s.backend.Plan(r.Context(), f.Spec)
		if err != nil {
			s.showRolloutForm(w, r, f, newProblem(w, "No plan", f.inRows(err)))
			return
		}
		f.preview(&plan)
		s.showRolloutForm(w, r, f, nil)
		return
	}
	ro, _, err := s.backend.CreateRollout(r.Context(), f.Spec, f.Key)
	if err != nil {
		s.showRolloutForm(w, r, f, newProblem(w, "Rollout not started", f.inRows(err)))
		return
	}
	http.Redirect(w, r, "/rollouts/"+segment(ro.ID), http.StatusSeeOther)
}

// preview is the plan as the page shows it.
func (f *rolloutForm) preview(plan *api.Plan) {
	f.Plan = plan
	f.Timeline = newPlanStrip(plan.Waves)
	for _, w := range plan.Waves {
		for _, n := range w.Nodes {
			if len(f.First) < firstNodes && !n.Already {
				f.First = append(f.First, firstNode{n, w.Name})
			}
		}
	}
}

// Changes reports how many nodes would get another bundle.
func (f rolloutForm) Changes() int { return f.Plan.Total - f.Plan.Already }

// planStrip draws when each wave would run and soak.
type planStrip struct {
	Height int
	Ticks  []stripTick
	Lanes  []stripLane
	Label  string
}

func newPlanStrip(waves []api.PlanWave) *planStrip {
	var first, last time.Time
	for _, w := range waves {
		if w.Starts.IsZero() || w.Ends.IsZero() {
			continue
		}
		if first.IsZero() || w.Starts.Before(first) {
			first = w.Starts
		}
		if w.Ends.After(last) {
			last = w.Ends
		}
	}
	if first.IsZero() || !last.After(first) {
		return nil
	}
	all := last.Sub(first)
	x := func(t time.Time) float64 { return 96 * float64(t.Sub(first)) / float64(all) }
	d := &planStrip{Height: 20 + laneHeight*len(waves)}
	gap := time.Minute
	for _, g := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour} {
		if gap = g; all/g <= 8 {
			break
		}
	}
	form := "15:04"
	if gap >= 24*time.Hour {
		form = "2 Jan"
	}
	for t := first.Truncate(gap).Add(gap); t.Before(last) && len(d.Ticks) < 12; t = t.Add(gap) {
		if x(t) < 93 { // the edge would cut the others
			d.Ticks = append(d.Ticks, stripTick{percentText(x(t)), t.UTC().Format(form)})
		}
	}
	var said []string
	for i, w := range waves {
		lane := stripLane{Number: i + 1, Y: 18 + laneHeight*i, Text: 33 + laneHeight*i}
		if !w.Starts.IsZero() && !w.Ends.IsZero() {
			soaks, _ := time.ParseDuration(w.Soak)
			done := w.Ends.Add(-soaks)
			if done.Before(w.Starts) {
				done = w.Starts
			}
			title := fmt.Sprintf("%s, %s to %s UTC", w.Name, w.Starts.UTC().Format("2 Jan 15:04"), w.Ends.UTC().Format("2 Jan 15:04"))
			said = append(said, title)
			b := stripBar{Class: "b is-busy", X: percentText(x(w.Starts)), Width: percentText(max(x(done)-x(w.Starts), 0.5)), Title: title}
			if x(done)-x(w.Starts) > 12 {
				b.Text = w.Name
			}
			lane.Bars = append(lane.Bars, b)
			if soaks > 0 {
				lane.Bars = append(lane.Bars, stripBar{Class: "done", X: percentText(x(done)), Width: percentText(max(x(w.Ends)-x(done), 0.3)), Title: w.Name + " soaks " + spanText(w.Soak)})
			}
		}
		d.Lanes = append(d.Lanes, lane)
	}
	d.Label = "When each wave would run: " + strings.Join(said, "; ")
	return d
}

// Conflicts are the choices of what becomes of another rollout of the same nodes.
func (rolloutForm) Conflicts() []struct{ Value, Word string } {
	return []struct{ Value, Word string }{{"", "do not start"}, {api.ConflictQueue, "begin when that has ended"}, {api.ConflictSupersede, "end that one, then begin"}}
}

// Rollbacks are the choices of what a halt brings back.
func (rolloutForm) Rollbacks() []struct{ Value, Word string } {
	return []struct{ Value, Word string }{{"", "nothing"}, {api.RollbackFailedWave, "nodes of the wave that halted"}, {api.RollbackAll, "all updated nodes"}}
}
