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
