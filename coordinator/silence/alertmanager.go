package silence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/ask"
)

const (
	// within bounds one request, if nothing else is said.
	within = 5 * time.Second
	// maxList bounds the list of all silences, with those that ended in the last
	// days, in bytes.
	maxList = 64 << 20
	// maxReply bounds any other answer.
	maxReply = 1 << 20
)

// silence is one of an Alertmanager.
type silence struct {
	ID        string    `json:"id,omitempty"`
	Matchers  []matcher `json:"matchers"`
	StartsAt  time.Time `json:"startsAt"`
	EndsAt    time.Time `json:"endsAt"`
	CreatedBy string    `json:"createdBy"`
	Comment   string    `json:"comment"`
	Status    *status   `json:"status,omitempty"`
}

type status struct {
	State string `json:"state"` // active, pending, expired
}

// errGone: the Alertmanager does not know the silence any more.
var errGone = errors.New("the Alertmanager does not know the silence any more")

// badSilence is about one silence; others may fare better.
type badSilence struct{ error }

// alertmanager speaks its API, over connections that are kept for one round.
type alertmanager struct {
	session *ask.Session
	service ask.Service
	base    *url.URL
	ahead   time.Duration // of its clock before ours
	within  time.Duration // bounds one request
	count   func(err error)
}

// list is all silences that have not ended.
func (a *alertmanager) list(ctx context.Context) ([]silence, error) {
	var all []silence
	if err := a.call(ctx, http.MethodGet, "silences", nil, &all, maxList); err != nil {
		return nil, err
	}
	if all == nil {
		return nil, errors.New("the Alertmanager's answer has no list of silences")
	}
	var out []silence
	for _, s := range all {
		if s.ID != "" && s.Status != nil && s.Status.State != "expired" {
			out = append(out, s)
		}
	}
	return out, nil
}

// get is one silence, as it has become.
func (a *alertmanager) get(ctx context.Context, id string) (silence, error) {
	var s silence
	err := a.call(ctx, http.MethodGet, "silence/"+url.PathEscape(id), nil, &s, maxReply)
	if err == nil && s.ID != id {
		err = fmt.Errorf("the Alertmanager answers with silence %q when asked for %q", ask.Line(s.ID), id)
	}
	return s, err
}

// put makes a silence, or with an id changes its end. It returns the id, which is
// another one when the old could not be changed.
func (a *alertmanager) put(ctx context.Context, s silence) (string, error) {
	s.Status = nil
	var made struct {
		ID string `json:"silenceID"`
	}
	err := a.call(ctx, http.MethodPost, "silences", s, &made, maxReply)
	if err == nil && made.ID == "" {
		err = errors.New("the Alertmanager says not which silence it made")
	}
	return made.ID, err
}

// expire ends a silence at once.
func (a *alertmanager) expire(ctx context.Context, id string) error {
	err := a.call(ctx, http.MethodDelete, "silence/"+url.PathEscape(id), nil, nil, maxReply)
	if errors.Is(err, errGone) {
		return nil
	}
	return err
}

func (a *alertmanager) call(ctx context.Context, method, path string, body, answer any, limit int64) (err error) {
	defer func() { a.count(err) }()
	var text []byte
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	ctx, cancel := ask.Within(ctx, a.within)
	defer cancel()
	began := time.Now()
	r, err := a.session.Do(ctx, ask.Request{Method: method, URL: a.base.JoinPath("api/v2", path), Body: text, Service: a.service, Limit: limit})
	switch {
	case err != nil:
		return fmt.Errorf("the Alertmanager could not be asked: %w", err)
	case r.Status == http.StatusNotFound && path != "silences":
		return errGone
	case r.Status == http.StatusNotFound && method == http.MethodPost:
		return errGone
	case r.Status == http.StatusBadRequest:
		return badSilence{fmt.Errorf("the Alertmanager refuses the silence: %s", ask.Line(string(r.Body)))}
	case r.Status != http.StatusOK:
		return fmt.Errorf("the Alertmanager answered %d %s", r.Status, http.StatusText(r.Status))
	}
	if !r.Date.IsZero() {
		a.ahead = r.Date.Sub(began.UTC().Truncate(time.Second))
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(r.Body, answer); err != nil {
		return fmt.Errorf("the Alertmanager's answer cannot be read: %w", err)
	}
	return nil
}
