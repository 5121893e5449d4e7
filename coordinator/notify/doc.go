// Package notify tells webhooks what happened: one POST for one message, in the
// form that the other side reads.
//
// # What is sent
//
// In format json the body is {"type", "timestamp", "data"} as the Standard
// Webhooks specification asks (https://www.standardwebhooks.com, version 1.0.0);
// slack is a text with blocks for an incoming webhook, teams a message with an
// Adaptive Card for a Teams workflow. Each request has the headers webhook-id,
// the same in all tries of one message, webhook-timestamp, and, with a secret,
// webhook-signature: for each secret "v1," and the base64 of HMAC-SHA256 over
// "id.timestamp.body". Whoever receives tells repetitions apart by the id.
//
// # What is taken for delivered
//
// Any 2xx. Redirects are not followed: the body would go where nobody named.
// Send tries once; its Failure says whether and when to try again.
//
// # Secrets
//
// The URL of a webhook is often a secret itself. Errors, and what is shown, have
// its host only. Files with URLs, secrets and authorities are read again for each
// message, so that they can be changed under a running coordinator.
package notify
