// Package silence keeps the alerts of a node quiet in an Alertmanager while the
// node is out of service.
//
// A hold that is confirmed gets one silence, which ends by itself after a few
// minutes and is renewed while the hold lasts. So a coordinator that dies leaves
// none behind for long. A silence goes no further than a few minutes past the
// hold's deadline, and ends when the node reports a failure: then somebody is to
// hear of it. When the hold is returned, its silence ends a little later, since
// alerts take until the next scrape to notice.
//
// Only the coordinator whose rollout engine is elected does this. What the one
// before it made is found by the silence's author, which names the cluster, and
// by its comment, which names node and group, and is gone on with: there is never
// more than one for a hold.
//
// Nothing waits for any of this. What fails is logged once, counted, listed under
// attention and tried again.
package silence
