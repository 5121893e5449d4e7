package api

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
)

// ProblemType is the media type of a Problem.
const ProblemType = "application/problem+json"

// ProblemOf is the one place where an error becomes an answer. An error that
// is no *Error is a fault of the coordinator, and its text stays inside.
func ProblemOf(err error, requestID string) Problem {
	var e *Error
	if !errors.As(err, &e) {
		e = Errorf(Internal, "the coordinator failed; its log says why under this request id")
	}
	return Problem{
		Type: "/problems/" + string(e.Kind), Title: titles[e.Kind], Status: e.Kind.Status(), Detail: e.Detail, Kind: e.Kind,
		RequestID: requestID, Errors: e.Fields, Blockers: e.Blockers, Place: e.Place, Earliest: e.Earliest,
	}
}

// RetrySeconds is what the Retry-After header of an error says, "" for none.
func RetrySeconds(err error) string {
	var e *Error
	if !errors.As(err, &e) || e.RetryAfter <= 0 {
		return ""
	}
	return strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds())))
}

// WriteProblem answers with an error. The request id is taken from the header
// that the door has set.
func WriteProblem(w http.ResponseWriter, err error) { WriteProblemStatus(w, err, 0) }

// WriteProblemStatus is WriteProblem for what HTTP has a status of its own for,
// such as 405. 0 is the status of the error's kind.
func WriteProblemStatus(w http.ResponseWriter, err error, status int) {
	p := ProblemOf(err, w.Header().Get(HeaderRequestID))
	if status != 0 {
		p.Status = status
	}
	body, _ := json.Marshal(p) // strings and numbers only
	w.Header().Set("Content-Type", ProblemType)
	if after := RetrySeconds(err); after != "" {
		w.Header().Set("Retry-After", after)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}

// titles say in a few words what each kind means.
var titles = map[Kind]string{
	Invalid:         "The request is not valid",
	Unauthenticated: "Credentials are missing or not known",
	Forbidden:       "The credentials do not allow this",
	UnknownGroup:    "There is no such group",
	NotFound:        "There is no such thing",
	HeldByOther:     "Another holds the slot under this id",
	DuplicateID:     "Two hosts use this id",
	StaleFence:      "The hold with this fence is gone",
	WrongCluster:    "This is another cluster",
	Conflict:        "This contradicts what is there",
	InUse:           "It is in use",
	Changed:         "It has changed since it was read",
	TooLarge:        "The body is too large",
	Full:            "Every slot is taken",
	LimitReached:    "A limit is reached",
	Window:          "No window is open",
	Blackout:        "A blackout is in force",
	Interval:        "Too soon after the last grant",
	Frozen:          "It is frozen",
	DownMembers:     "Too many members are down",
	Queue:           "Others are before it",
	CoordinatorHost: "A coordinator runs on it, and may not go now",
	Rate:            "Too soon",
	NoQuorum:        "The coordinators have no quorum",
	NewerSchema:     "A newer version wrote this",
	DiskLow:         "The coordinator is low on disk space",
	Internal:        "The coordinator failed",
}
