// Package etcdstore keeps in etcd what is not a semaphore: the cluster's
// identity, the nodes' records, bundles, tokens, the audit trail and
// idempotency keys; and, for as long as they live, the coordinators with
// who is heard where.
//
// Everything but bundles lies under one prefix and is followed by watch:
//
//	cluster/identity          id, incarnation, time of bootstrap
//	cluster/foreign/<id>      another cluster whose agent called here
//	coordinators/<id>         a coordinator that is here; leased
//	nodes/<node>              last report worth keeping
//	presence/<kind>/<node>    who is heard at which coordinator; leased
//	tokens/<id>               hashed secret and role
//	events/<scope>/<sequence> audit trail; groups and rollouts put their own
//	requests/<key>            idempotency keys
//
// Bundles are large and are never watched, so they lie beside that prefix:
// <prefix>-bundles/meta/<sha256> and …/body/<sha256>.
package etcdstore
