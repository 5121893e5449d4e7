// Package ask speaks HTTP to services that are not Lockkeeper's: a Prometheus, an
// Alertmanager, what a rollout's gate names. It asks only hosts that the
// coordinator's configuration allows, follows redirects only among those, and
// bounds what it reads. Its errors and answers are lines for people, without
// tokens, paths or control characters in them.
package ask
