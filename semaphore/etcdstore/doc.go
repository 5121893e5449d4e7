// Package etcdstore keeps the semaphores of all groups in etcd. It implements
// semaphore.Store.
//
// Keys, under one prefix, with JSON values that a person can read:
//
//	groups/<group>/spec            what the operator declared
//	groups/<group>/semaphore       the head: next fence, event sequence, freeze
//	groups/<group>/holds/<node>    one hold
//	groups/<group>/members/<node>  one member
//	groups/<group>/queue/<node>    one waiter, leased; its CreateRevision is its ticket
//	freeze                         the fleet-wide stop
//	events/<scope>/<sequence>      audit trail
//
// Node ids are escaped by semaphore.EscapeID.
//
// What makes it exact: spec, holds and members of a group change only in a
// transaction that compares the head's ModRevision and puts the head. Grants
// and first confirms compare the freeze key too, and a grant to a waiter that
// waiter's CreateRevision. So a decision made on an old state does not commit,
// whoever made it and however late its transaction arrives.
//
// The state in memory comes from one watch. Deciding on it is only a guess
// that the transaction's comparison settles; a lost comparison brings the
// state of that moment back with it. An answer that writes nothing is given
// after a linearizable read found the head where the decision saw it.
package etcdstore
