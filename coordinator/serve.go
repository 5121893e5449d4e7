package coordinator

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/coordinator/door"
	"github.com/lockkeeper/lockkeeper/coordinator/fleetlock"
	"github.com/lockkeeper/lockkeeper/coordinator/httpapi"
	"github.com/lockkeeper/lockkeeper/web"
)

// serve puts the front ends behind the doors.
func (c *Coordinator) serve() error {
	if err := c.doors.openLate(); err != nil {
		return err
	}
	metrics, err := door.NewMetrics(c.registry)
	if err != nil {
		return err
	}
	c.registry.MustRegister(
		&fleetCollector{status: c.selfStatus, now: time.Now, started: time.Now()},
		&selfCollector{version: c.version, store: c.node, peers: c.db, events: c.db, certificates: c.certificates},
	)

	limiter := door.NewLimiter(c.cfg.Limits.Requests, c.cfg.Limits.Waiting)
	if err := limiter.Register(c.registry); err != nil {
		return err
	}
	options := door.Options{
		Authenticate: c.service.Authenticate, Cluster: c.service, AllowedHosts: c.cfg.Hosts,
		Loopback: !c.doors.needsTokens(), Limiter: limiter, Logger: c.log, Metrics: metrics,
	}
	handler := c.handler()
	c.doors.serveMain(door.Wrap(handler, options))
	if c.doors.admin != nil {
		options.Loopback = true
		c.doors.serve(c.doors.admin, door.Wrap(handler, options))
	}
	if c.doors.fleetlock == nil {
		return nil
	}
	gate, err := door.NewFleetLockGate(door.FleetLockConfig{
		Networks: c.doors.networks(), KnownIDsOnly: c.cfg.FleetLock.KnownIDsOnly, View: c.store.Look,
	})
	if err != nil {
		return err
	}
	options.Loopback, options.FleetLock = false, true
	c.doors.serve(c.doors.fleetlock, door.Wrap(fleetlock.New(c.service, fleetlock.Options{
		Wait: c.cfg.FleetLock.Wait, Admit: gate.Admit, HungUp: door.HungUp, Logger: c.log,
	}), options))
	return nil
}

// handler is everything that the main listener serves.
func (c *Coordinator) handler() http.Handler {
	mux := chi.NewMux()
	mux.Handle(httpapi.Root+"/*", httpapi.New(c.service, httpapi.Options{Version: c.version, Logger: c.log}))
	locks := fleetlock.New(c.service, fleetlock.Options{Wait: c.cfg.FleetLock.Wait, HungUp: door.HungUp, Logger: c.log})
	mux.Handle("/v1/*", locks)
	mux.Get("/metrics", promhttp.HandlerFor(
		// etcd registers on the default registry, with the process's own figures.
		prometheus.Gatherers{c.registry, prometheus.DefaultGatherer},
		promhttp.HandlerOpts{EnableOpenMetrics: true},
	).ServeHTTP)
	mux.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.Get("/readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := c.service.Ready(r.Context()); err != nil {
			api.WriteProblem(w, err)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "ready\n")
	})
	mux.Handle("/*", web.New(c.service, web.Options{Version: c.version, Logger: c.log}))
	return mux
}

// selfStatus is the fleet's status for the coordinator's own gauges.
func (c *Coordinator) selfStatus(ctx context.Context) (api.Status, error) {
	return c.service.Status(auth.With(ctx, auth.Principal{Name: "metrics", Role: api.RoleViewer}))
}
