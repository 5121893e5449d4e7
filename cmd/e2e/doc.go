// Package e2e holds the tests that run the three programs as their users do:
// real processes, real HTTP, real files, killed and started again.
package e2e
