// Package etcdstore keeps in etcd what is not a semaphore: the cluster's
// identity, the nodes' records, bundles, tokens, the audit trail and
// idempotency keys.
//
// Everything but bundles lies under one prefix and is followed by watch:
//
//	cluster/identity          id, incarnation, time of bootstrap
//	cluster/foreign/<id>      another cluster whose agent called here
//	nodes/<node>              last report worth keeping
//	tokens/<id>               hashed secret and role
//	events/<scope>/<sequence> audit trail; groups and rollouts put their own
//	requests/<key>            idempotency keys
//
// Bundles are large and are never watched, so they lie beside that prefix:
// <prefix>-bundles/meta/<sha256> and …/body/<sha256>.
package etcdstore
