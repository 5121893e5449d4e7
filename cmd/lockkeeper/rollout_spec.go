package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle/signature"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// selection is the rollout that the flags and the file of start and plan
// describe together. A flag adds to the file; what both say is an error, for
// either could have been meant.
type selection struct {
	spec api.RolloutSpec // complete after check, its bundle after resolve
	dir  string
	key  string // signs what is built from dir
	// drifted: the nodes are those that have drifted from the bundle.
	drifted bool

	app   *app
	set   *pflag.FlagSet
	path  string
	file  *rolloutFile // nil for none
	waves waveFlags
	start string
	zone  string
	tell  []string
}

// flagPaths are the members of a file that the flags stand for.
var flagPaths = []struct {
	flag  string
	paths []string
}{
	{"bundle", []string{"bundle"}}, {"dir", []string{"bundle"}},
	{"group", []string{"group"}}, {"selector", []string{"selector"}}, {"node", []string{"nodes"}}, {"needs-reboot", []string{"needs_reboot"}},
	{"on-conflict", []string{"conflict"}},
	{"wave", []string{"waves", "grow"}}, {"grow", []string{"waves", "grow"}}, {"soak", []string{"waves", "grow"}},
	{"not-before", []string{"start"}}, {"window", []string{"windows"}},
	{"max-failures", []string{"max_failures"}}, {"min-healthy-time", []string{"min_healthy_time"}},
	{"healthy-deadline", []string{"healthy_deadline"}}, {"progress-deadline", []string{"progress_deadline"}},
	{"rollback", []string{"auto_rollback"}}, {"notify", []string{"on_halt", "on_done"}},
	{"name", []string{"name"}}, {"reason", []string{"reason"}},
}

func (s *selection) flags(a *app, c *cobra.Command) {
	s.app, s.set = a, c.Flags()
	flags := c.Flags()
	flags.StringVarP(&s.path, "file", "f", "", "YAML or JSON file that describes the rollout, - for the standard input")
	flags.StringVar(&s.spec.Bundle, "bundle", "", "a bundle: its digest, the beginning of that, NAME or NAME:VERSION")
	flags.StringVar(&s.dir, "dir", "", "folder to build the bundle from, and upload")
	flags.StringVar(&s.key, "key", "", "with --dir: sign the bundle with this SSH key's file, as \"bundle create\" does")
	flags.StringVar(&s.spec.Group, "group", "", "the nodes of this group")
	flags.StringVar(&s.spec.Selector, "selector", "", "the nodes with these labels: zone=a,role=web")
	flags.StringSliceVar(&s.spec.Nodes, "node", nil, "this node (repeatable)")
	flags.BoolVar(&s.spec.NeedsReboot, "needs-reboot", false, "of those, only the nodes that say that they need a reboot")
	flags.StringVar(&s.spec.Conflict, "on-conflict", "", "if another rollout has some of the nodes: refuse (default), queue, or supersede it")
	s.waves.flags(flags)
	flags.StringVar(&s.start, "not-before", "", `when it begins: 2026-12-24T18:00:00Z, or "2026-12-24 18:00" with --time-zone`)
	flags.StringVar(&s.zone, "time-zone", "", "by whose clock --not-before is meant, such as Europe/Berlin")
	flags.StringArray("window", nil, `nodes start only while one is open (repeatable): "mon-fri 22:00 4h Europe/Berlin"`)
	flags.StringVar((*string)(&s.spec.MaxFailures), "max-failures", "0", "so many nodes, or percent of them (5%), may fail before the rollout halts")
	flags.StringVar(&s.spec.MinHealthyTime, "min-healthy-time", "", "a node is updated after so long in service, such as 1m")
	flags.StringVar(&s.spec.HealthyDeadline, "healthy-deadline", "", "a node has failed so long after its slot was confirmed")
	flags.StringVar(&s.spec.ProgressDeadline, "progress-deadline", "", "it halts when nothing moved for so long although something could")
	flags.StringVar(&s.spec.AutoRollback, "rollback", "", "when it halts, take updated nodes back: none (default), failed_wave or all")
	flags.StringSliceVar(&s.tell, "notify", nil, "webhook of the coordinator's configuration to tell when it halts, and when it has ended (repeatable)")
	flags.StringVar(&s.spec.Name, "name", "", "a name for people")
	flags.StringVar(&s.spec.Reason, "reason", "", "why, for the audit trail")
	// A variable that is left set would choose what the next rollout changes.
	cli.NoEnv(c, "file", "key", "time-zone", "bundle", "dir", "group", "selector", "node", "needs-reboot", "on-conflict",
		"wave", "grow", "soak", "not-before", "window", "max-failures", "min-healthy-time", "healthy-deadline", "progress-deadline",
		"rollback", "notify", "name", "reason")
	complete(c, "bundle", a.completeBundles)
	complete(c, "group", a.completeGroups)
	complete(c, "node", a.completeNodes)
	fixed := func(flag string, values ...string) {
		complete(c, flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	fixed("on-conflict", api.ConflictRefuse, api.ConflictQueue, api.ConflictSupersede)
	fixed("rollback", api.RollbackNone, api.RollbackFailedWave, api.RollbackAll)
	if err := c.MarkFlagDirname("dir"); err != nil {
		panic(err)
	}
	if err := c.MarkFlagFilename("file", "yaml", "yml", "json"); err != nil {
		panic(err)
	}
}

// check reads what is asked for, and wants a bundle and nodes.
func (s *selection) check() error {
	if err := s.read(); err != nil {
		return err
	}
	if s.drifted {
		return s.checkDrifted()
	}
	switch {
	case s.spec.Bundle == "" && s.dir == "":
		return usagef("want --bundle with a digest, its beginning, NAME or NAME:VERSION, or --dir with the folder to build the bundle from")
	case s.spec.Bundle != "" && s.dir != "":
		return usagef("--bundle and --dir both name a bundle: want one of them")
	case s.key != "" && s.dir == "":
		return usagef("--key signs what is built from --dir; \"lockkeeper bundle sign\" signs a bundle that is there")
	case s.spec.Group == "" && s.spec.Selector == "" && len(s.spec.Nodes) == 0:
		return usagef("want the nodes to update: --group, --selector or --node")
	}
	return nil
}

// read reads the file, and puts what the flags say into it.
func (s *selection) read() error {
	flags := s.spec
	if s.path != "" {
		var err error
		if s.file, err = s.app.readRollout(s.path); err != nil {
			return err
		}
		for _, f := range flagPaths {
			for _, path := range f.paths {
				if s.set.Changed(f.flag) && s.file.says(path) {
					return usagef("--%s and %s of %s both say it: want one of them", f.flag, path, s.file.name)
				}
			}
		}
		s.spec = s.file.spec
	}
	s.merge(flags)
	if err := s.schedule(); err != nil {
		return err
	}
	if err := s.waves.into(&s.spec); err != nil {
		return err
	}
	if _, err := semaphore.ParseSlots(string(s.spec.MaxFailures)); s.set.Changed("max-failures") && err != nil {
		return usagef("--max-failures %q: want a number of nodes, or percent such as 5%%", s.spec.MaxFailures)
	}
	if s.spec.Group != "" {
		if err := semaphore.ValidGroup(s.spec.Group); err != nil {
			return usageError{err}
		}
	}
	return nil
}

// merge takes over what the flags say and the file does not.
func (s *selection) merge(flags api.RolloutSpec) {
	take := func(flag string, set func()) {
		if s.file == nil || s.set.Changed(flag) {
			set()
		}
	}
	take("bundle", func() { s.spec.Bundle = flags.Bundle })
	take("group", func() { s.spec.Group = flags.Group })
	take("selector", func() { s.spec.Selector = flags.Selector })
	take("node", func() { s.spec.Nodes = flags.Nodes })
	take("needs-reboot", func() { s.spec.NeedsReboot = flags.NeedsReboot })
	take("on-conflict", func() { s.spec.Conflict = flags.Conflict })
	take("max-failures", func() { s.spec.MaxFailures = flags.MaxFailures })
	take("min-healthy-time", func() { s.spec.MinHealthyTime = flags.MinHealthyTime })
	take("healthy-deadline", func() { s.spec.HealthyDeadline = flags.HealthyDeadline })
	take("progress-deadline", func() { s.spec.ProgressDeadline = flags.ProgressDeadline })
	take("rollback", func() { s.spec.AutoRollback = flags.AutoRollback })
	take("name", func() { s.spec.Name = flags.Name })
	take("reason", func() { s.spec.Reason = flags.Reason })
	for _, name := range s.tell {
		told := api.NotifySpec{Webhook: name}
		s.spec.OnHalt, s.spec.OnDone = append(s.spec.OnHalt, told), append(s.spec.OnDone, told)
	}
}

// schedule reads when it may begin and in which windows nodes may start.
func (s *selection) schedule() error {
	if s.zone != "" && s.start == "" {
		return usagef("--time-zone goes with --not-before; a window has its own")
	}
	if s.start != "" {
		at, err := parseMoment("--not-before", s.start, s.zone)
		if err != nil {
			return err
		}
		s.spec.Start = at.UTC().Truncate(time.Second)
	}
	texts, err := s.set.GetStringArray("window")
	if err != nil {
		return err
	}
	for _, text := range texts {
		w, err := parseWindow(text)
		if err != nil {
			return err
		}
		if found := specProblems(api.GroupSpec{Windows: []api.WindowSpec{w}}); len(found) > 0 {
			return usagef("--window %q: %s: %s", text, lastName(found[0].Path), found[0].Detail)
		}
		s.spec.Windows = append(s.spec.Windows, w)
	}
	return nil
}

// resolve names the bundle by its whole digest, after an upload if need be.
func (s *selection) resolve(ctx context.Context, a *app, c coordinator) error {
	if s.drifted {
		return s.findDrifted(ctx, c)
	}
	if s.dir == "" {
		digest, err := namedBundle(ctx, c, s.spec.Bundle)
		s.spec.Bundle = digest
		return err
	}
	text, _, err := buildBundle(s.dir)
	if err != nil {
		return err
	}
	sign, err := a.signer(s.key)
	if err != nil {
		return err
	}
	b, err := a.upload(ctx, c, text, bundle.Digest(text))
	if err != nil {
		return err
	}
	s.spec.Bundle = b.Digest
	if sign == nil {
		return nil
	}
	signed, err := signature.Sign(b.Digest, sign)
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	by, err := signature.Signer(b.Digest, signed)
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	if _, err := c.SignBundle(ctx, b.Digest, api.BundleSignature{Signature: signed}); err != nil {
		return err
	}
	a.hint("Bundle %s is signed by %s.", cli.Cell(b.Name), by)
	return nil
}

// placed is an error with the place in the file that it is about.
func (s *selection) placed(err error) error {
	var e *api.Error
	if errors.As(err, &e) && e.Kind == api.Conflict {
		e.Detail = asFlags.Replace(e.Detail)
	}
	return s.file.placed(err)
}

// asFlags makes of what a request would say the flag that says it; it wins over a
// file.
var asFlags = strings.NewReplacer(
	"conflict: "+api.ConflictQueue, "--on-conflict "+api.ConflictQueue,
	"conflict: "+api.ConflictSupersede, "--on-conflict "+api.ConflictSupersede,
)

// namedBundle is the whole digest of a bundle that is named by its digest, the
// beginning of that, its name, or NAME:VERSION.
func namedBundle(ctx context.Context, c coordinator, word string) (string, error) {
	if partDigest.MatchString(strings.ToLower(strings.TrimPrefix(word, "sha256:"))) {
		return fullDigest(ctx, c, word)
	}
	bundles, err := c.Bundles(ctx)
	if err != nil {
		return "", err
	}
	var found []api.Bundle
	for _, b := range bundles {
		if b.Name == word || b.Version != "" && b.Name+":"+b.Version == word {
			found = append(found, b)
		}
	}
	switch len(found) {
	case 0:
		return "", notFoundf("no bundle %q: want a digest, its beginning (4 digits at least), NAME or NAME:VERSION; \"lockkeeper bundle list\" shows them", word)
	case 1:
		return found[0].Digest, nil
	}
	var list []string
	for _, b := range found {
		list = append(list, strings.TrimSpace(short(b.Digest)+" "+b.Version))
	}
	return "", usagef("%d bundles are called %s: want a digest, of %s", len(found), word, strings.Join(list, ", "))
}
