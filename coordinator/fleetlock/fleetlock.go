package fleetlock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// The two paths of the protocol.
const (
	PreReboot   = "/v1/pre-reboot"
	SteadyState = "/v1/steady-state"
)

// DefaultWait is how long a request is parked. Zincati gives up after 30 s.
const DefaultWait = 25 * time.Second

const (
	bodyWithin    = 10 * time.Second // for a client to send its body
	answerWithin  = 10 * time.Second // for a client to take the answer
	releaseWithin = 30 * time.Second // for a release, also when its client has left
	freshFor      = 2 * time.Second  // a 200 rests on a commit or read not older than this
	askAgain      = 10 * time.Second // Retry-After of a refusal that can pass
	askAgainMost  = 5 * time.Minute  // and at most: who stays away for 15 min loses its place
	maxLooks      = 3                // at an answer that keeps getting old
)

// Backend is the service as this package uses it. Errors are *api.Error.
type Backend interface {
	// FleetLockAcquire takes a slot or gives the holder's hold a new fence,
	// waiting for at most wait. A refusal is an error, or an answer with a kind.
	FleetLockAcquire(ctx context.Context, group, id, peer string, wait time.Duration) (semaphore.Answer, error)
	// FleetLockRelease returns the slot; returning none succeeds.
	FleetLockRelease(ctx context.Context, group, id string) error
	// FleetLockGiveBack releases the hold that has that fence.
	FleetLockGiveBack(group, id string, fence int64)
}

// Options of New.
type Options struct {
	// Wait is how long a request for a slot is parked; 0 answers at once.
	// DefaultWait suits Zincati.
	Wait time.Duration
	// Admit says who may ask, and for what; acquire is false for a release.
	// Who is admitted acts for its own id. Without Admit the context says who
	// asks, as the door left it.
	Admit func(r *http.Request, group, id string, acquire bool) *api.Error
	// HungUp says that the client of a request has left, which the request's
	// context may tell a moment later. Without it that alone is asked.
	HungUp func(r *http.Request) bool
	Logger *slog.Logger // nil discards
}

type handler struct {
	backend Backend
	wait    time.Duration
	admit   func(r *http.Request, group, id string, acquire bool) *api.Error
	hungUp  func(r *http.Request) bool
	log     *slog.Logger

	bodyWithin time.Duration
}

// New is the handler of the protocol's two paths; any other is answered 404.
func New(b Backend, o Options) http.Handler { return newHandler(b, o) }

func newHandler(b Backend, o Options) *handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.HungUp == nil {
		o.HungUp = func(*http.Request) bool { return false }
	}
	return &handler{backend: b, wait: max(0, o.Wait), admit: o.Admit, hungUp: o.HungUp, log: o.Logger, bodyWithin: bodyWithin}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	// In force before anything is answered: net/http drains what is left of a
	// refused request's body.
	_ = control.SetReadDeadline(time.Now().Add(h.bodyWithin))
	path := r.URL.EscapedPath()
	if path != PreReboot && path != SteadyState {
		fail(w, http.StatusNotFound, api.NotFound, "there is no "+path+": the protocol has "+PreReboot+" and "+SteadyState)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		fail(w, http.StatusMethodNotAllowed, api.Invalid, path+" takes POST only")
		return
	}
	if r.Header.Get("Fleet-Lock-Protocol") != "true" {
		fail(w, http.StatusBadRequest, api.Invalid, "the header fleet-lock-protocol: true is missing")
		return
	}
	params, status, err := readParams(w, r)
	if err != nil {
		kind := api.Invalid
		if status == http.StatusRequestEntityTooLarge {
			kind = api.TooLarge
		}
		fail(w, status, kind, err.Error())
		return
	}
	// Lifted now: net/http goes on reading to learn when the client leaves.
	_ = control.SetReadDeadline(time.Time{})
	if h.admit != nil {
		if e := h.admit(r, params.group, params.id, path == PreReboot); e != nil {
			h.refuse(w, r, e)
			return
		}
		// It may act for that one id, as a node's token would let it.
		r = r.WithContext(auth.With(r.Context(), auth.Principal{Name: "fleetlock " + peerOf(r), Role: api.RoleNode, Node: params.id}))
	}
	if path == SteadyState {
		h.steadyState(w, r, params)
		return
	}
	h.preReboot(w, r, params)
}

// steadyState returns a slot. It is carried through when the client leaves.
func (h *handler) steadyState(w http.ResponseWriter, r *http.Request, p params) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), releaseWithin)
	defer cancel()
	if err := h.backend.FleetLockRelease(ctx, p.group, p.id); err != nil {
		h.refuse(w, r, err)
		return
	}
	_ = answer(w, http.StatusOK, struct{}{})
}

// preReboot takes a slot. A 200 rests on a commit or a read that is at most
// freshFor old. A hold that this very request made, and whose client left
// before the first byte of the 200, is given back; one that it only gave a new
// fence may be what an earlier 200 of the same host rests on, and never is.
func (h *handler) preReboot(w http.ResponseWriter, r *http.Request, p params) {
	peer := peerOf(r)
	wait := h.wait
	for range maxLooks {
		asked := time.Now()
		got, err := h.backend.FleetLockAcquire(r.Context(), p.group, p.id, peer, wait)
		if err == nil && got.Kind != semaphore.OK {
			err = refusal(got)
		}
		if err != nil {
			h.refuse(w, r, err)
			return
		}
		giveBack := func() {
			if got.Created && got.Hold != nil {
				h.backend.FleetLockGiveBack(p.group, p.id, got.Hold.Fence)
			}
		}
		// A 200 can be written to a connection that its client has closed, and then
		// nobody hears of the hold.
		if r.Context().Err() != nil || h.hungUp(r) {
			giveBack()
			h.refuse(w, r, api.Errorf(api.Queue, "the client left before the answer"))
			return
		}
		if at := got.At; at.IsZero() && time.Since(asked) > freshFor || !at.IsZero() && time.Since(at) > freshFor {
			// Too old to promise anything. A hold that this request made goes
			// back first: the next look would only give it a new fence, and if
			// none is in time nobody would know that no 200 rests on it.
			giveBack()
			wait = 0
			continue
		}
		if answer(w, http.StatusOK, struct{}{}) != nil {
			giveBack()
		}
		return
	}
	h.refuse(w, r, &api.Error{Kind: api.NoQuorum, Detail: "the store answers too slowly to promise a slot", RetryAfter: askAgain})
}

// refusal makes an error of an answer that is none: it names every blocker.
func refusal(got semaphore.Answer) *api.Error {
	e := api.Errorf(api.Kind(got.Kind), "%s", got.Detail)
	for _, b := range got.Blockers {
		if !strings.Contains(e.Detail, b.Detail) {
			e.Detail = strings.TrimPrefix(e.Detail+"; "+b.Detail, "; ")
		}
		if left := time.Until(b.Until); left > e.RetryAfter {
			e.RetryAfter = min(left, askAgainMost)
		}
	}
	if got.Place > 0 {
		e.Detail += fmt.Sprintf(" (place %d in the queue)", got.Place)
	}
	return e
}

// refuse answers with an error of the service.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var e *api.Error
	if !errors.As(err, &e) {
		// Either the client has left, or it is a fault of ours.
		if r.Context().Err() == nil {
			h.log.ErrorContext(r.Context(), "a FleetLock request failed", "request_id", api.RequestID(r.Context()), "err", err)
		}
		e = api.Errorf(api.Internal, "the coordinator failed; its log says why")
	}
	status := e.Kind.Status()
	if e.Kind == api.HeldByOther {
		status = http.StatusLocked // in this protocol a slot that is not to be had
	}
	after := e.RetryAfter
	if after <= 0 && (status == http.StatusLocked || status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) {
		after = askAgain
	}
	if s := api.RetrySeconds(&api.Error{RetryAfter: after}); s != "" {
		w.Header().Set("Retry-After", s)
	}
	fail(w, status, e.Kind, e.Detail)
}

// fail writes the protocol's error.
func fail(w http.ResponseWriter, status int, kind api.Kind, value string) {
	_ = answer(w, status, struct {
		Kind  api.Kind `json:"kind"`
		Value string   `json:"value"`
	}{kind, value})
}

// answer writes and flushes. An error means that the client has nothing of it.
func answer(w http.ResponseWriter, status int, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(answerWithin))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if _, err := w.Write(append(text, '\n')); err != nil {
		return err
	}
	if err := control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// peerOf is the address that asks, without its port.
func peerOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return strings.TrimSpace(r.RemoteAddr)
	}
	return host
}
