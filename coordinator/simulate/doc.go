// Package simulate runs rollouts over made-up hosts in virtual time. The rules
// are the real ones: rollout.Forecast plays semaphore.Decide and rollout.Decide,
// which coordinators run. Only the hosts and the time are not: how long a host
// takes, whether it fails and whether it ever comes back is drawn from a seed,
// for each host by itself, so that the same seed comes to the same end.
package simulate
