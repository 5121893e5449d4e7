package coordinator

import (
	"regexp"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
)

// maxTxnOps bounds etcd.max_txn_ops: beyond it nothing gets faster.
const maxTxnOps = 1024

var prefixPattern = regexp.MustCompile(`^(/[A-Za-z0-9._-]+)+/?$`)

// validate names what cannot be in the store's configuration.
func (c *EtcdConfig) validate(bad func(field, format string, args ...any)) {
	if c.Quota < 64<<20 || c.Quota > 8<<30 {
		bad("etcd.quota", "%d: want 67108864 (64 MiB) to 8589934592 (8 GiB)", c.Quota)
	}
	if c.Heartbeat < 10*time.Millisecond || c.Election < 5*c.Heartbeat || c.Election > 50*time.Second {
		bad("etcd", "heartbeat %s, election %s: want a heartbeat of at least 10ms, and an election of 5 heartbeats to 50s", c.Heartbeat, c.Election)
	}
	if !c.External() {
		c.validateEmbedded(bad)
		return
	}
	if err := etcdnode.CheckEndpoints(c.Endpoints, c.Insecure); err != nil {
		bad("etcd.endpoints", "%v", err)
	}
	root := strings.TrimSuffix(c.Prefix, "/")
	if c.Prefix != "" && (!prefixPattern.MatchString(c.Prefix) || strings.HasSuffix(root, "-bundles")) {
		bad("etcd.prefix", "%q: want one such as /lockkeeper/: letters, digits, dot, dash and underscore between slashes, not ending in -bundles", c.Prefix)
	}
	if (c.Cert == "") != (c.Key == "") {
		bad("etcd", "cert and key belong together")
	}
	if (c.Username == "") != (c.PasswordFile == "") {
		bad("etcd", "username and password_file belong together")
	}
	if (c.CA != "" || c.Cert != "") && !strings.HasPrefix(c.Endpoints[0], "https:") {
		bad("etcd", "ca, cert and key are for https endpoints")
	}
	if c.MaxTxnOps != 0 && (c.MaxTxnOps < etcdnode.DefaultTxnOps || c.MaxTxnOps > maxTxnOps) {
		bad("etcd.max_txn_ops", "%d: want %d to %d, and no more than the etcd's own --max-txn-ops", c.MaxTxnOps, etcdnode.DefaultTxnOps, maxTxnOps)
	}
}

// validateEmbedded refuses what is about an existing etcd: left in by mistake,
// it would make a coordinator that shares nothing with the others.
func (c *EtcdConfig) validateEmbedded(bad func(field, format string, args ...any)) {
	for field, set := range map[string]bool{
		"prefix": c.Prefix != "", "insecure": c.Insecure, "ca": c.CA != "", "cert": c.Cert != "", "key": c.Key != "",
		"username": c.Username != "", "password_file": c.PasswordFile != "", "max_txn_ops": c.MaxTxnOps != 0,
	} {
		if set {
			bad("etcd."+field, "is only for an existing etcd: name it with etcd.endpoints (--etcd-endpoints), or leave this out")
		}
	}
}

// prefix of all keys, as the stores take it.
func (c *EtcdConfig) prefix() string {
	if c.Prefix == "" {
		return "/lockkeeper/"
	}
	return strings.TrimSuffix(c.Prefix, "/") + "/"
}
