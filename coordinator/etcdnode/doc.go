// Package etcdnode runs the coordinator's store: a member of etcd inside this
// process, alone or with those of other coordinators; or it is a client of an
// etcd that others run.
//
// No client port is open, since every caller is in this process. The peer port
// is open only where an address for other members is configured, and lets in
// members that the cluster's own authority vouches for, over TLS 1.3.
//
// The data folder belongs to this package alone:
//
//	lock            flock held while the process lives, with its pid
//	lockkeeper.json marker: says which member this is, and how far a join has come
//	etcd/           etcd's own folder
//	peer/           the cluster's authority, and this member's certificate
//
// A folder that holds nothing at all is bootstrapped, or joins the cluster that
// it is told to. Any other state that is not a whole store is a refusal with an
// error of its own, never an empty cluster: hosts that hold slots would be
// forgotten. What a join has begun is finished by the same join, since nobody
// was served from the folder before.
//
// Much in etcd ends the process by calling Fatal or panicking in its logger.
// Those messages arrive at Fatal, and from then on the node refuses every use.
package etcdnode
