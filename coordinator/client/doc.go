// Package client is the Go client of /api/v1. The CLI and the agent use it.
//
// It has one method for each endpoint, named as the coordinator's service
// names it. A refusal by the coordinator is an *api.Error. Where no coordinator
// gave an answer the error wraps ErrUnreachable, and nothing is known of the
// outcome: asking again with the same request is safe, see RFC 9110 9.2.2 and
// the idempotency column of the API's documentation.
//
// It imports the standard library and nothing that the agent must not link.
package client
