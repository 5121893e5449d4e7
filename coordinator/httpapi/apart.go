package httpapi

import (
	"context"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/door"
)

// apart is a call that is carried out beside its handler, which may return
// before it ends.
type apart struct {
	done chan struct{} // closed when out and err are there

	mu     sync.Mutex
	over   bool
	out    any
	err    error
	parked *door.Parked // who waits for the answer; nil: the handler does
}

// waitApart carries out a call that may wait, and parks its request when it does.
func (s *service) waitApart(w http.ResponseWriter, r *http.Request, call func(context.Context) (any, error)) {
	// Until it is parked the call ends with the request, then with the client.
	ctx, cancel := door.Detach(r)
	stop := context.AfterFunc(r.Context(), cancel)
	a := &apart{done: make(chan struct{})}
	go a.run(ctx, cancel, s, call)
	t := time.NewTimer(door.WaitsAfter)
	defer t.Stop()
	select {
	case <-a.done:
	case <-t.C:
		if a.park(w, cancel) {
			stop()
			return
		}
		<-a.done
	}
	s.reply(r.Context(), w, a.out, a.err)
}

// park hands the request over to the call, unless that has just ended or the
// connection cannot be had.
func (a *apart) park(w http.ResponseWriter, cancel context.CancelFunc) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return false
	}
	p, ok := door.Park(w, holdRoute, cancel)
	if ok {
		a.parked = p
	}
	return ok
}

// run carries out the call. What calls it, and it, are kept small: ten thousand
// of them may wait on their stacks.
func (a *apart) run(ctx context.Context, cancel context.CancelFunc, s *service, call func(context.Context) (any, error)) {
	defer cancel()
	out, err := s.guarded(ctx, call)
	a.mu.Lock()
	a.over, a.out, a.err = true, out, err
	p := a.parked
	a.mu.Unlock()
	close(a.done)
	if p != nil {
		p.Answer(func(w http.ResponseWriter) { s.reply(ctx, w, out, err) })
	}
}

// guarded keeps a fault in one request from ending the coordinator, as the door
// does for what its handlers do themselves.
func (s *service) guarded(ctx context.Context, call func(context.Context) (any, error)) (out any, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			s.log.Error("a request made the coordinator panic", "request_id", api.RequestID(ctx), "fault", fault, "stack", string(debug.Stack()))
			out, err = nil, api.Errorf(api.Internal, "the coordinator failed; its log says why under this request id")
		}
	}()
	return call(ctx)
}
