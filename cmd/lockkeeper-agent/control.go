package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lockkeeper/lockkeeper/agent"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// socketName is the agent's socket, in its state folder: who may open it is root
// on this host.
const socketName = "agent.sock"

// progressEvery is how often the agent is looked at for a person who waits.
const progressEvery = 200 * time.Millisecond

// maxReason is how long a reason may be, in characters.
const maxReason = 200

// check reports what is wrong with the body of POST /reboot. The answer to it is
// one agent.Progress a line, at each change, until the request has ended.
func check(r agent.RebootRequest) error {
	if len(r.ID) < 16 || len(r.ID) > 64 {
		return errors.New("the id: want 16 to 64 random characters")
	}
	if n := utf8.RuneCountInString(r.Reason); n < 1 || n > maxReason {
		return errors.New("the reason: want 1 to " + strconv.Itoa(maxReason) + " characters")
	}
	for _, c := range r.Reason {
		if !unicode.IsPrint(c) {
			return errors.New("the reason: want printable characters in one line")
		}
	}
	return nil
}

// control is the agent as people and monitoring on its host reach it.
type control struct {
	agent   *agent.Agent
	servers []*http.Server
	stop    chan struct{} // closed when the agent ends
}

// listen opens the socket in the state folder, which must be locked, and the
// metrics listener, "" for none.
func (c *control) listen(stateDir, metricsListen string, failed func(error)) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /reboot", c.reboot)
	mux.HandleFunc("GET /metrics", serveMetrics(c.agent.Stats))
	file := filepath.Join(stateDir, socketName)
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", file)
	if err != nil {
		return err
	}
	c.serve(l, mux, failed)
	if metricsListen == "" {
		return nil
	}
	l, err = net.Listen("tcp", metricsListen)
	if err != nil {
		return err
	}
	only := http.NewServeMux()
	only.HandleFunc("GET /metrics", serveMetrics(c.agent.Stats))
	c.serve(l, localOnly(only), failed)
	return nil
}

func (c *control) serve(l net.Listener, h http.Handler, failed func(error)) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	c.servers = append(c.servers, s)
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			failed(err)
		}
	}()
}

// close tells whoever waits how far it is, and ends the listeners.
func (c *control) close() {
	close(c.stop)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, s := range c.servers {
		_ = s.Shutdown(ctx) // who has not heard it by then does not listen
		_ = s.Close()
	}
}

// reboot takes a person's request, and withdraws it when that person leaves.
func (c *control) reboot(w http.ResponseWriter, r *http.Request) {
	var asked agent.RebootRequest
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := check(asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := c.agent.RequestReboot(asked); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	defer c.agent.WithdrawReboot(asked.ID)
	w.Header().Set("Content-Type", "application/x-ndjson")
	follow(r.Context(), w, c.stop, func() agent.Progress { return c.agent.RequestProgress(asked.ID) })
}

// follow writes each change until the request has ended, its client has gone, or
// the agent ends, maybe for the reboot that was asked for.
func follow(ctx context.Context, w http.ResponseWriter, stop <-chan struct{}, progress func() agent.Progress) {
	out, e := http.NewResponseController(w), json.NewEncoder(w)
	var phase api.Phase
	message, first, last := "", true, false
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		p := progress()
		if first || p.Ended || p.Phase != phase || p.Message != message {
			first, phase, message = false, p.Phase, p.Message
			if e.Encode(p) != nil || out.Flush() != nil || p.Ended {
				return
			}
		}
		if last {
			return
		}
		select {
		case <-stop:
			last = true
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
