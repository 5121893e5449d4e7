package api

import "time"

// JoinTokenRequest asks for a join token.
type JoinTokenRequest struct {
	TTL      string `json:"ttl,omitempty"`      // 1m to 24h, default 1h
	Replaces string `json:"replaces,omitempty"` // name or id of the member that goes when it is used
}

// JoinToken lets one coordinator join the cluster, once. It is shown this once.
type JoinToken struct {
	ID string `json:"id"`
	// Token is the secret, with the fingerprint of the cluster's authority and
	// the cluster's id behind it.
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expires_at"`
	Replaces  string    `json:"replaces,omitempty"` // id
	Warnings  []string  `json:"warnings,omitempty"`
}

// JoinBeginRequest is the first question of a joiner, with its join token.
type JoinBeginRequest struct {
	Name string `json:"name"`            // that the member will have
	MaxV int    `json:"max_v,omitempty"` // highest schema of stored values that it reads
}

// JoinAuthority is the cluster's own authority, which vouches for its members.
type JoinAuthority struct {
	CACert  string       `json:"ca_cert"` // PEM
	CAKey   string       `json:"ca_key"`  // PEM
	Members []JoinMember `json:"members"`
}

// JoinMember is one member as another finds it.
type JoinMember struct {
	ID      string `json:"id"`
	Name    string `json:"name"` // empty for one that never ran
	PeerURL string `json:"peer_url"`
}

// JoinRequest asks to be taken in. Who asks listens on its peer URL.
type JoinRequest struct {
	Name     string `json:"name"`
	PeerURL  string `json:"peer_url"`            // https://HOST:PORT
	MemberID string `json:"member_id,omitempty"` // that it was given before, whose log it has
}

// Joined is the cluster with the new member, which has no vote yet.
type Joined struct {
	MemberID string       `json:"member_id"`
	Members  []JoinMember `json:"members"`
}

// LeaderRequest names the member that is to lead; empty: any other that can.
type LeaderRequest struct {
	Member string `json:"member,omitempty"` // name or id
}

// MemberChange is what was done, and what to know now.
type MemberChange struct {
	Member   Member   `json:"member"`
	Done     string   `json:"done"` // as a sentence
	Warnings []string `json:"warnings,omitempty"`
}

// AuthorityStage is how far the members' own authority has been replaced.
type AuthorityStage string

// The stages, in order. An empty one: it never was.
const (
	AuthorityTrust   AuthorityStage = "trust"   // members believe the next one beside the one of now
	AuthorityShow    AuthorityStage = "show"    // the next one vouches for them
	AuthorityDone    AuthorityStage = "done"    // they believe the next one only
	AuthorityAborted AuthorityStage = "aborted" // they believe the one of before only
)

// AuthorityRequest takes one step of replacing the members' own authority.
type AuthorityRequest struct {
	Step string `json:"step"` // begin, next, abort
}

// AuthorityStatus is how far the members' own authority has been replaced.
// Authorities are named by the SHA-256 of their certificates.
type AuthorityStatus struct {
	Stage   AuthorityStage    `json:"stage,omitempty"`
	From    string            `json:"from,omitempty"`
	To      string            `json:"to,omitempty"`
	By      string            `json:"by,omitempty"`
	Since   time.Time         `json:"since,omitzero"`
	Members []AuthorityMember `json:"members"`
	Next    string            `json:"next"` // what to do now, as a sentence
}

// AuthorityMember is what a member has of it.
type AuthorityMember struct {
	Member   string   `json:"member"` // name
	Shows    string   `json:"shows,omitempty"`
	Believes []string `json:"believes,omitempty"`
	// Todo is what it needs for the step that was taken last; empty when it has
	// taken that.
	Todo string `json:"todo,omitempty"`
}
