// Package httpapi serves /api/v1: it parses a request, calls the service and
// encodes the answer. It decides nothing itself.
//
// Bodies and queries are strict: an unknown member or parameter is refused
// with its place. Every refusal is a problem of RFC 9457, see api.ProblemOf.
package httpapi
