package main

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

func (a *app) groupSetCommand() *cobra.Command {
	var (
		slots, hold, fleetlock string
		interval               string
		limits, windows        []string
		noWindows              bool
		countUnreachable       bool
		dryRun                 bool
		ifMatch                int64
	)
	c := &cobra.Command{
		Use:   "set GROUP",
		Short: "Create a group, or change what its flags name and leave the rest",
		Long: `Create a group, or change what its flags name and leave the rest.

If somebody else changes the group meanwhile, the flags are applied again to
what they made of it. With --if-match the change is refused instead.
Fewer slots than are held evict nobody: nothing is granted until enough holds
were returned.

With windows, hosts start only while one of them is open. A window opens and
closes by the wall clock of its time zone, UTC if none is given, also when the
clock changes; with a cutoff, nothing starts in so much of its end. --window
replaces all windows of the group:

  --window "[DAYS] START DURATION [ZONE] [cutoff=DURATION] [name=NAME]"
  --window "cron MINUTE HOUR DAY MONTH WEEKDAY DURATION [ZONE] [cutoff=…] [name=…]"

DAYS are such as sat, mon-fri or mon,thu; without them it is every day.`,
		Example: `  lockkeeper group set web --slots 2
  lockkeeper group set web --slots 5% --limit zone=1
  lockkeeper group set web --limit zone=none --hold-timeout 45m
  lockkeeper group set web --window "mon-fri 22:00 4h Europe/Berlin cutoff=30m" --window "sat 09:00 8h Europe/Berlin"
  lockkeeper group set web --window "cron 0 3 1 * * 4h name=monthly"
  lockkeeper group set web --no-windows --grant-interval 10m`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, match := args[0], ""
			if err := semaphore.ValidGroup(name); err != nil {
				return usageError{err}
			}
			if ifMatch > 0 {
				match = strconv.FormatInt(ifMatch, 10)
			}
			given := func(flag string) bool { return cmd.Flags().Changed(flag) }
			limitsGiven, err := parseLimits(limits)
			if err != nil {
				return err
			}
			for flag, value := range map[string]string{"hold-timeout": hold, "fleetlock-hold-timeout": fleetlock} {
				if err := checkTimeout("--"+flag, value); err != nil {
					return err
				}
			}
			windowsGiven, err := parseWindows(windows)
			if err != nil {
				return err
			}
			if noWindows && len(windowsGiven) > 0 {
				return usagef("--no-windows goes without --window")
			}
			if err := checkInterval(interval); err != nil {
				return err
			}
			if given("slots") {
				if _, err := semaphore.ParseSlots(slots); err != nil {
					return usagef("--slots: %w", err)
				}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			g, old, err := putGroup(cmd.Context(), c, name, match, dryRun, func(old *api.GroupSpec) (api.GroupSpec, error) {
				var spec api.GroupSpec
				switch {
				case old != nil:
					spec = *old
				case !given("slots"):
					return spec, usagef("group %q is new: want --slots, a number such as 2 or a percentage such as 5%%", name)
				}
				if given("slots") {
					spec.Slots = api.Slots(slots)
				}
				spec.Limits = mergeLimits(spec.Limits, limitsGiven)
				if given("count-unreachable") {
					spec.CountUnreachable = countUnreachable
				}
				if given("window") || noWindows {
					spec.Windows = windowsGiven
				}
				if given("grant-interval") {
					spec.GrantInterval = intervalOf(interval)
				}
				if given("hold-timeout") {
					spec.Timeouts.Hold = hold
				}
				if given("fleetlock-hold-timeout") {
					spec.Timeouts.FleetLockHold = fleetlock
				}
				return spec, nil
			})
			if err != nil {
				return err
			}
			return a.print(g, func() error {
				a.say("%s", changeLine(name, old, g.Spec, dryRun))
				return nil
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&slots, "slots", "", "how many may be out of service at once: 2, or 5% of the members")
	flags.StringSliceVar(&limits, "limit", nil, "LABEL=MAX, at most so many holds among nodes with the same value; LABEL=none lifts it (repeatable)")
	flags.BoolVar(&countUnreachable, "count-unreachable", false, "nodes that are down take up slots too")
	flags.StringArrayVar(&windows, "window", nil, "span that comes back in which hosts may start (repeatable); replaces all windows")
	flags.BoolVar(&noWindows, "no-windows", false, "no windows: hosts may start at any time")
	flags.StringVar(&interval, "grant-interval", "", "that lies between two starts at least, such as 10m; none lifts it")
	flags.StringVar(&hold, "hold-timeout", "", "until a hold is overdue (default 30m)")
	flags.StringVar(&fleetlock, "fleetlock-hold-timeout", "", "the same for holds by FleetLock (default 1h)")
	flags.BoolVar(&dryRun, "dry-run", false, "say what would change, and change nothing")
	flags.Int64Var(&ifMatch, "if-match", 0, "only if the group is at this revision")
	// A variable that is left set would change every group that is touched.
	cli.NoEnv(c, "slots", "limit", "count-unreachable", "window", "no-windows", "grant-interval", "hold-timeout", "fleetlock-hold-timeout", "if-match")
	c.ValidArgsFunction = a.completeGroups
	return c
}

// none lifts a limit, or the grant interval.
const none = "none"

func parseLimits(texts []string) ([]api.Limit, error) {
	var limits []api.Limit
	for _, text := range texts {
		by, limit, ok := strings.Cut(text, "=")
		if !ok || by == "" || limit == "" {
			return nil, usagef("--limit %q: want LABEL=MAX such as zone=1, or LABEL=none", text)
		}
		if limit != none {
			if _, err := semaphore.ParseSlots(limit); err != nil {
				return nil, usagef("--limit %q: want LABEL=MAX such as zone=1 or zone=10%%, or LABEL=none", text)
			}
		}
		if slices.ContainsFunc(limits, func(l api.Limit) bool { return l.By == by }) {
			return nil, usagef("--limit %q: the label %q is given twice", text, by)
		}
		limits = append(limits, api.Limit{By: by, Max: api.Slots(limit)})
	}
	return limits, nil
}

// mergeLimits sets the limits of the labels that changes name.
func mergeLimits(limits, changes []api.Limit) []api.Limit {
	limits = slices.Clone(limits)
	for _, change := range changes {
		i := slices.IndexFunc(limits, func(l api.Limit) bool { return l.By == change.By })
		switch {
		case change.Max == none && i >= 0:
			limits = slices.Delete(limits, i, i+1)
		case change.Max == none:
		case i >= 0:
			limits[i] = change
		default:
			limits = append(limits, change)
		}
	}
	return limits
}

func checkTimeout(where, value string) error {
	if value == "" {
		return nil
	}
	if d, err := time.ParseDuration(value); err != nil || d <= 0 {
		return usagef("%s %q: want a duration such as 30m or 1h30m", where, value)
	}
	return nil
}

// checkInterval checks the value of --grant-interval.
func checkInterval(value string) error {
	if value == "" || value == none {
		return nil
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > semaphore.MaxInterval {
		return usagef("--grant-interval %q: want a duration such as 10m, at most %s, or none", value, semaphore.MaxInterval)
	}
	return nil
}

// intervalOf is what the spec has for a value that was checked.
func intervalOf(value string) string {
	if d, _ := time.ParseDuration(value); d == 0 {
		return ""
	}
	return value
}
