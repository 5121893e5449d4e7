package api

import (
	"fmt"
	"net/http"
	"time"
)

// Kind names what was wrong. A problem's type is "/problems/<kind>" (RFC 9457).
type Kind string

// The kinds and, in Status, what each is in HTTP.
const (
	Invalid         Kind = "invalid"
	Unauthenticated Kind = "unauthenticated"
	Forbidden       Kind = "forbidden"
	UnknownGroup    Kind = "unknown_group"
	NotFound        Kind = "not_found"
	HeldByOther     Kind = "held_by_other"
	DuplicateID     Kind = "duplicate_id"
	StaleFence      Kind = "stale_fence"
	WrongCluster    Kind = "wrong_cluster"
	Conflict        Kind = "conflict"
	InUse           Kind = "in_use"
	Changed         Kind = "changed"
	TooLarge        Kind = "too_large"
	Full            Kind = "full"
	LimitReached    Kind = "limit"
	Window          Kind = "window"
	Blackout        Kind = "blackout"
	Interval        Kind = "interval"
	Frozen          Kind = "frozen"
	DownMembers     Kind = "down_members"
	Queue           Kind = "queue"
	CoordinatorHost Kind = "coordinator_host"
	Rate            Kind = "rate"
	NoQuorum        Kind = "no_quorum"
	NewerSchema     Kind = "newer_schema"
	DiskLow         Kind = "disk_low"
	Internal        Kind = "internal"
)

// Status is the HTTP status of the kind.
func (k Kind) Status() int {
	switch k {
	case Invalid:
		return http.StatusBadRequest
	case Unauthenticated:
		return http.StatusUnauthorized
	case Forbidden:
		return http.StatusForbidden
	case UnknownGroup, NotFound:
		return http.StatusNotFound
	case HeldByOther, DuplicateID, StaleFence, WrongCluster, Conflict, InUse:
		return http.StatusConflict
	case Changed:
		return http.StatusPreconditionFailed
	case TooLarge:
		return http.StatusRequestEntityTooLarge
	case Full, LimitReached, Window, Blackout, Interval, Frozen, DownMembers, Queue, CoordinatorHost:
		return http.StatusLocked
	case Rate:
		return http.StatusTooManyRequests
	case NoQuorum, NewerSchema, DiskLow:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// Error is every error of the API, on both sides of the wire.
type Error struct {
	Kind       Kind
	Detail     string       // a sentence: what was wrong, and what would be accepted
	Fields     []FieldError // where, for invalid input
	Blockers   []Blocker    // for 423
	Place      int          // in the queue, for 423; 0 when not queued
	Earliest   time.Time    // for 423: not before, as far as a clock decides; zero when none does
	RetryAfter time.Duration
	RequestID  string // set by the server's door, read by the client
}

// FieldError is one wrong field: its path ("spec.slots"), and why.
type FieldError struct {
	Path   string `json:"location"`
	Detail string `json:"message"`
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Kind, e.Detail) }

// Errorf makes an Error.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// Problem is an Error on the wire: application/problem+json, RFC 9457.
type Problem struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail"`
	Kind      Kind         `json:"kind"`
	RequestID string       `json:"request_id,omitempty"`
	Errors    []FieldError `json:"errors,omitempty"`
	Blockers  []Blocker    `json:"blockers,omitempty"`
	Place     int          `json:"place,omitempty"`
	Earliest  time.Time    `json:"earliest,omitzero"`
}

// Headers of every answer.
const (
	HeaderCluster     = "Lockkeeper-Cluster"     // cluster id; also sent by agents that pinned one
	HeaderIncarnation = "Lockkeeper-Incarnation" // of that cluster
	HeaderRevision    = "Lockkeeper-Revision"    // store revision
	HeaderStale       = "Lockkeeper-Stale"       // "true" without quorum
	HeaderRequestID   = "Lockkeeper-Request-Id"
)
