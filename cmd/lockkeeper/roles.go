package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// commandRoles are what commands need as a whole. A command that reads before it writes
// would be refused for want of viewer, which is not all that it needs.
var commandRoles = map[string]api.Role{
	"status": api.RoleViewer, "watch": api.RoleViewer, "explain": api.RoleViewer, "events": api.RoleViewer, "events export": api.RoleViewer,
	"plan": api.RoleViewer, "cluster": api.RoleViewer, "cluster status": api.RoleViewer,
	"group list": api.RoleViewer, "group show": api.RoleViewer, "group export": api.RoleViewer,
	"node list": api.RoleViewer, "node show": api.RoleViewer,
	"hold list": api.RoleViewer, "queue list": api.RoleViewer, "blackout list": api.RoleViewer,
	"bundle list": api.RoleViewer, "bundle show": api.RoleViewer, "bundle diff": api.RoleViewer,
	"rollout list": api.RoleViewer, "rollout plan": api.RoleViewer, "rollout show": api.RoleViewer, "rollout watch": api.RoleViewer,

	"bundle create": api.RoleDeployer, "bundle upload": api.RoleDeployer, "bundle sign": api.RoleDeployer, "bundle delete": api.RoleDeployer,
	"rollout start": api.RoleDeployer, "rollout pause": api.RoleDeployer, "rollout resume": api.RoleDeployer, "rollout halt": api.RoleDeployer,
	"rollout abort": api.RoleDeployer, "rollout retry": api.RoleDeployer, "rollout approve": api.RoleDeployer, "rollout skip": api.RoleDeployer,
	"node retry": api.RoleDeployer, "node rollback": api.RoleDeployer,

	"apply": api.RoleOperator, "group set": api.RoleOperator, "group delete": api.RoleOperator,
	"freeze": api.RoleOperator, "unfreeze": api.RoleOperator, "blackout add": api.RoleOperator, "blackout remove": api.RoleOperator,
	"node label": api.RoleOperator, "node forget": api.RoleOperator, "node clear-duplicate": api.RoleOperator,
	"hold revoke": api.RoleOperator, "hold release": api.RoleOperator, "queue leave": api.RoleOperator, "queue priority": api.RoleOperator,
	"snapshot list": api.RoleOperator,

	"token create": api.RoleAdmin, "token list": api.RoleAdmin, "token revoke": api.RoleAdmin, "snapshot create": api.RoleAdmin,
	"cluster token": api.RoleAdmin, "cluster replace": api.RoleAdmin, "cluster promote": api.RoleAdmin, "cluster remove": api.RoleAdmin,
	"cluster move-leader": api.RoleAdmin, "cluster rotate-ca": api.RoleAdmin,
}

// commandRole is the role that a command needs, empty for one that asks no
// coordinator. What benchmarks do, they do as nodes too.
func commandRole(c *cobra.Command) api.Role {
	_, name, _ := strings.Cut(c.CommandPath(), " ")
	if strings.HasPrefix(name, "bench ") {
		return api.RoleAdmin
	}
	return commandRoles[name]
}

// sayRoles has the help of each command below c say what role it needs.
func sayRoles(c *cobra.Command) {
	if role := commandRole(c); role != "" {
		text := c.Long
		if text == "" {
			text = c.Short + "."
		}
		c.Long = fmt.Sprintf("%s\n\nNeeds the role %s%s.", text, role, map[bool]string{true: " or a higher one"}[role != api.RoleAdmin])
	}
	for _, sub := range c.Commands() {
		sayRoles(sub)
	}
}

// needsMore is what to add to a refusal of a command that only read until then,
// and needs a higher role for what it does next.
func needsMore(c *cobra.Command, err error) string {
	var e *api.Error
	if c == nil || !errors.As(err, &e) || e.Kind != api.Forbidden && e.Kind != api.Unauthenticated {
		return ""
	}
	role := commandRole(c)
	if role == "" || role == api.RoleViewer || !strings.Contains(e.Detail, "needs the role "+string(api.RoleViewer)) {
		return ""
	}
	return fmt.Sprintf("; all of %q needs the role %s", c.CommandPath(), role)
}
