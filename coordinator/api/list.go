package api

// The lists of the API are objects, so that they can grow.
type (
	// GroupList is every group, by name.
	GroupList struct {
		Groups []Group `json:"groups"`
	}
	// HoldList is every hold of a group or of the fleet, oldest first.
	HoldList struct {
		Holds []Hold `json:"holds"`
	}
	// BundleList is every bundle, newest first.
	BundleList struct {
		Bundles []Bundle `json:"bundles"`
	}
	// RolloutList is every rollout without its nodes, newest first.
	RolloutList struct {
		Rollouts []Rollout `json:"rollouts"`
	}
	// TokenList is every credential without its secret.
	TokenList struct {
		Tokens []Token `json:"tokens"`
	}
)
