// Package api holds the types that travel over /api/v1: what the coordinator
// answers, what the agent and the CLI send, and the one list of error kinds.
// It imports the standard library only.
package api
