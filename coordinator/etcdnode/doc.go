// Package etcdnode runs the coordinator's store: a single etcd member inside
// this process.
//
// No etcd port is open. There is no client listener, since every caller is in
// this process, and no peer listener, since a single member has no peers.
//
// The data folder belongs to this package alone:
//
//	lock            flock held while the process lives, with its pid
//	lockkeeper.json marker: says that a cluster was bootstrapped here, and its names
//	etcd/           etcd's own folder
//
// A folder that holds nothing at all is bootstrapped. Any other state that is
// not a whole store is a refusal with an error of its own, never an empty
// cluster: hosts that hold slots would be forgotten.
//
// Much in etcd ends the process by calling Fatal or panicking in its logger.
// Those messages arrive at Fatal, and from then on the node refuses every use.
package etcdnode
