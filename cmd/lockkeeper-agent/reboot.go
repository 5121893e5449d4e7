package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/agent"
	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// agentStarts is how long an agent that went away may take to be back.
const agentStarts = 30 * time.Second

func newReboot() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "reboot --reason TEXT",
		Short: "Reboot this host when it has a slot",
		Long: `Asks the agent of this host for a reboot, and shows how far it is: the host waits
for a slot of its group like any other, is drained, and reboots. Ctrl-C leaves
the queue; once the host has begun to drain, the reboot goes on without you.

It ends with 0 once the host goes down, and with 1 when the reboot was given up,
by the agent or by you.`,
		Example: `  lockkeeper-agent reboot --reason "new firmware"`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asked := agent.RebootRequest{ID: rand.Text(), Reason: reason}
			if err := check(asked); err != nil {
				return fmt.Errorf("--reason %q: %w", reason, err)
			}
			w := &waiter{socket: filepath.Join(stateDir(cmd), socketName), out: cmd.OutOrStdout()}
			if err := w.wait(cmd.Context(), asked); err != nil {
				return &failure{err}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who wait for a slot and for the audit trail")
	return cmd
}

// waiter is a person who waits for a reboot.
type waiter struct {
	socket string
	out    io.Writer
	shown  string
	last   agent.Progress // of this request
	begun  bool           // it cannot be taken back any more
}

// errBroken: the agent went away in the middle of its answer.
var errBroken = errors.New("the agent has gone away")

// wait asks, and asks again when the agent was started anew meanwhile: the same
// request, for it may have been served.
func (w *waiter) wait(ctx context.Context, asked agent.RebootRequest) error {
	gone := time.Time{}
	for {
		err := w.ask(ctx, asked)
		switch {
		case err == nil:
			return nil
		case (ctx.Err() != nil || errors.Is(err, errBroken)) && w.last.Working && w.last.Phase == api.PhaseRebooting:
			fmt.Fprintln(w.out, "The host reboots.")
			return nil
		case ctx.Err() != nil && w.begun:
			return errors.New("the host is already out of service: the reboot goes on without you")
		case ctx.Err() != nil:
			return errors.New("left the queue: the host is not rebooted")
		case !errors.Is(err, errBroken) && gone.IsZero():
			return err // it was never there
		case errors.Is(err, errBroken):
			gone = time.Now()
			w.show("the agent has gone away: waiting for it to be started again")
		case time.Since(gone) > agentStarts:
			return err
		}
		t := time.NewTimer(time.Second)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// ask sends the request and shows what the agent answers.
func (w *waiter) ask(ctx context.Context, asked agent.RebootRequest) error {
	body, err := json.Marshal(asked)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://agent/reboot", bytes.NewReader(body))
	if err != nil {
		return err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", w.socket)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}).Do(req)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: only root may ask the agent for a reboot", w.socket)
	case err != nil:
		return fmt.Errorf("no agent runs with this --state-dir: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // what was read of it will do
		return errors.New(strings.TrimSpace(string(text)))
	}
	d := json.NewDecoder(resp.Body)
	for {
		var p agent.Progress
		if err := d.Decode(&p); err != nil {
			return errBroken
		}
		w.last = p
		if p.Ended {
			if f := p.Failure; f != nil {
				return fmt.Errorf("given up: %s: %s", f.Reason, f.Detail)
			}
			fmt.Fprintln(w.out, "The host has rebooted.")
			return nil
		}
		w.begun = p.Working && p.Phase != api.PhaseIdle && p.Phase != api.PhaseWaiting && p.Phase != api.PhaseHolding
		w.show(string(p.Phase) + ": " + p.Message)
	}
}

// show prints a line that is not the one before.
func (w *waiter) show(line string) {
	if line = cli.Cell(line); line != w.shown {
		w.shown = line
		fmt.Fprintln(w.out, line)
	}
}
