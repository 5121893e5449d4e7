// Package door is where requests come in: it listens, checks that a request is
// meant for this coordinator and may change anything, learns who asks, and
// names, counts and logs it. What a request may do is the service's to decide.
package door
