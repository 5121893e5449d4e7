package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/agent"
	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
)

func newTrust() *cobra.Command {
	return &cobra.Command{
		Use:   "trust",
		Short: "Forget the pinned cluster: the next one that answers is trusted",
		Long: `An agent does nothing for any cluster but the one that it met first. After that
cluster was replaced on purpose, trust lets the next one that answers be pinned.
A running agent takes notice; it need not be started again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			was, err := agent.Trust(stateDir(cmd))
			if err != nil {
				return &failure{err}
			}
			if was.Cluster == "" {
				fmt.Fprintln(cmd.OutOrStdout(), "No cluster was pinned. The next one that answers will be.")
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Cluster %s (incarnation %d) is no longer pinned. The next one that answers will be.\n", was.Cluster, was.Incarnation)
			return nil
		},
	}
}

// status is what `lockkeeper-agent status -o json` prints.
type status struct {
	agent.State
	Pinned agent.Pin `json:"pinned"`
}

func newStatus() *cobra.Command {
	output := "text"
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Print what the journal says",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return fmt.Errorf("--output %q: want text or json", output)
			}
			s, err := agent.ReadJournal(stateDir(cmd))
			if err != nil {
				return &failure{err}
			}
			if s.Starts == 0 { // each start of an agent is counted there
				return &failure{fmt.Errorf("there is no agent's state in %s: no agent has run with that --state-dir, or it was moved away", stateDir(cmd))}
			}
			pin, err := agent.ReadPin(stateDir(cmd))
			if err != nil {
				return &failure{err}
			}
			w := cmd.OutOrStdout()
			if output == "json" {
				e := json.NewEncoder(w)
				e.SetIndent("", "  ")
				return e.Encode(status{s, pin})
			}
			for _, line := range lines(s, pin) {
				fmt.Fprintf(w, "%-10s %s\n", line[0], cli.Cell(line[1]))
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// lines is the status for people: what is empty is left out.
func lines(s agent.State, pin agent.Pin) [][2]string {
	out := [][2]string{{"phase", string(s.Phase)}}
	add := func(name, value string) {
		if value != "" {
			out = append(out, [2]string{name, value})
		}
	}
	add("group", s.Group)
	if s.Fence != 0 {
		add("hold", fmt.Sprintf("fence %d", s.Fence))
	}
	if j := s.Job; j != nil {
		add("job", strings.TrimSpace(j.Name+" "+j.Bundle))
		add("rollout", j.Rollout)
	}
	if s.Back {
		add("direction", "back to the previous files")
	}
	add("bundle", s.Applied)
	if f := s.Failure; f != nil {
		add("failure", f.Reason+": "+f.Detail)
	}
	if pin.Cluster != "" {
		add("cluster", fmt.Sprintf("%s, incarnation %d", pin.Cluster, pin.Incarnation))
	}
	return out
}
