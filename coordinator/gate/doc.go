// Package gate asks the gates of a rollout. A Checker makes one try at a time:
// it asks a Prometheus, an Alertmanager, an HTTP server or a command, and says
// whether the gate passes now and why. How often to try, for how long a gate must
// pass without a break, and who approves, is up to the rollout engine.
//
// What cannot be asked, answers late, too much, or not as it should, does not
// pass: a gate is never passed by default.
//
// # Before a rollout starts
//
// Validate names each field of a gate that cannot be. It also asks the Prometheus
// or Alertmanager once whether it understands what it will be asked, since each
// version has a language of its own. If it does not answer then, the query is
// held against the MetricsQL grammar, of which PromQL is nearly a part.
//
// # Who may be asked
//
// Who may start a rollout writes its gates, and they are asked from where the
// coordinator is. So only hosts in its configuration are (package ask), and only
// the very programs that the configuration lists are run.
package gate
