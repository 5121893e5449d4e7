// Package fleetlock serves the FleetLock protocol, as Zincati and others speak
// it, over the same semaphores as the API: a thin adapter that parses, asks
// the service and answers.
//
// The protocol: POST /v1/pre-reboot takes a slot, POST /v1/steady-state returns
// it, both with the header "fleet-lock-protocol: true" and the body
// {"client_params": {"id": ID, "group": GROUP}}. 200 means granted, or
// released. Everything else is an error with a body {"kind": …, "value": …}.
// See https://coreos.github.io/zincati/development/fleetlock/protocol/.
package fleetlock
