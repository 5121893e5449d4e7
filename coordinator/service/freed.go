package service

import (
	"fmt"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// isFreed reports whether a host is not healthy and holds no slot any more: it was
// freed by name, and others may go beside it.
func isFreed(n *api.Node) bool {
	return n.State == api.NodeFailed && n.Hold == nil && n.Report.Trouble == "" && !n.Report.Healthy
}

// freed lists such hosts.
func freed(o *overview) []api.Attention {
	var list []api.Attention
	for i := range o.nodes {
		n := &o.nodes[i]
		if !isFreed(n) {
			continue
		}
		a := api.Attention{
			Kind: attentionFailed, Severity: bad, Node: n.ID, Group: n.Group,
			Title:  fmt.Sprintf("%s is not healthy, and holds no slot", n.ID),
			Detail: sentenceOf(failureOf(o, n.ID)) + "Others may go beside it. Repair the host, or forget it if it is gone: `lockkeeper node forget`.",
		}
		if f := n.Report.Failure; f != nil {
			a.Since = f.At
		}
		list = append(list, a)
	}
	return list
}

func freedHosts(o *overview) int {
	n := 0
	for i := range o.nodes {
		if isFreed(&o.nodes[i]) {
			n++
		}
	}
	return n
}
