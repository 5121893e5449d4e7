// Package service is the one place that authorises, checks input, and speaks
// the API's types. Doors (HTTP, FleetLock, the dashboard) call it; it asks the
// semaphores, the fleet, the rollouts and the database.
//
// Who asks is in the context (package auth). Every error is an *api.Error that
// says what was wrong and what would be accepted.
package service
