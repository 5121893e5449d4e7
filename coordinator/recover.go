package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
)

// Recovered is what a recovery found and did.
type Recovered struct {
	etcdnode.Recovery
	// Restored is what it did to the data; zero after a dry run, and when only the
	// last step was left.
	Restored Restored
}

// RecoverOptions say what is lost.
type RecoverOptions struct {
	Lost   []string // every other member, by name, the beginning of one, or id
	DryRun bool
	// Begin is told what was found before anything is changed.
	Begin func(etcdnode.Recovery)
}

// Recover makes, of the data folder of a member whose majority is lost for good,
// the same cluster with this one member, in a new incarnation: as Restore does
// with a snapshot.
func Recover(ctx context.Context, cfg Config, opts RecoverOptions, log *slog.Logger) (Recovered, error) {
	cfg = cfg.withDefaults()
	var done Recovered
	prefix := cfg.Etcd.prefix()
	var err error
	done.Recovery, err = etcdnode.Recover(ctx, etcdnode.RecoverConfig{
		Config: etcdnode.Config{DataDir: cfg.DataDir, Logger: log, Quota: cfg.Etcd.Quota},
		Prefix: prefix, Lost: opts.Lost, DryRun: opts.DryRun, Begin: opts.Begin,
		Prepare: func(ctx context.Context, n *etcdnode.Node, r etcdnode.Recovery) error {
			var lost []string
			for _, p := range r.Lost {
				lost = append(lost, p.Called())
			}
			return done.Restored.markAlone(ctx, n, prefix, "what member "+r.Member.Called()+" had, after the loss of "+strings.Join(lost, " and "))
		},
	})
	return done, err
}

// IsLostNotNamed reports whether Recover refused because of what was named.
func IsLostNotNamed(err error) bool { return errors.Is(err, etcdnode.ErrLostNotNamed) }
