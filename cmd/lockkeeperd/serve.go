package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/cmd/internal/memory"
	"github.com/lockkeeper/lockkeeper/coordinator"
)

func newServe() *cobra.Command {
	cfg := coordinator.DefaultConfig()
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a coordinator",
		Args:  cobra.NoArgs,
		Example: `  lockkeeperd serve --data-dir /var/lib/lockkeeper
  lockkeeperd serve --listen 0.0.0.0:8443 --tls-self-signed --host lock.example.com
  lockkeeperd serve --peer-listen 10.0.0.2:2380 --join https://lock-1.example.com:8443 --join-token-file token
  lockkeeperd serve --etcd-endpoints https://etcd-1.example.com:2379 --etcd-ca ca.pem --etcd-cert lock.pem --etcd-key lock.key`,
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "config", "", "YAML config `FILE`")
	bindConfig(flags, &cfg)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg.Join.Token = os.Getenv(joinTokenVariable)
		merged, err := mergeConfig(file, cfg, flags)
		if err != nil {
			return &exitError{exitUsage, nameSources(err, flags)}
		}
		return serve(cmd.Context(), merged)
	}
	return cmd
}

// joinTokenVariable holds the join token itself. It has no flag: the arguments
// of a process are for everybody to read.
const joinTokenVariable = cli.EnvPrefix + "JOIN_TOKEN"

// bindConfig gives every setting of the config that has a flag its flag.
func bindConfig(flags *pflag.FlagSet, cfg *coordinator.Config) {
	flags.StringVar(&cfg.DataDir, "data-dir", cfg.DataDir, "`DIR` of the store")
	flags.StringVar(&cfg.Listen, "listen", cfg.Listen, "`HOST:PORT` or unix:PATH; other than loopback needs TLS and tokens")
	flags.StringSliceVar(&cfg.Hosts, "host", cfg.Hosts, "`NAME` or address by which clients call this coordinator (repeatable)")
	flags.StringVar(&cfg.TLS.Cert, "tls-cert", cfg.TLS.Cert, "PEM `FILE` of the certificate")
	flags.StringVar(&cfg.TLS.Key, "tls-key", cfg.TLS.Key, "PEM `FILE` of its key")
	flags.BoolVar(&cfg.TLS.SelfSigned, "tls-self-signed", cfg.TLS.SelfSigned, "make a certificate in the data dir and print its pin")
	flags.BoolVar(&cfg.RequireToken, "require-token", cfg.RequireToken, "ask for a token on loopback too")
	flags.BoolVar(&cfg.AutoCreateGroups, "auto-create-groups", cfg.AutoCreateGroups, "make unknown groups, with 0 slots, when a node asks")
	flags.StringVar(&cfg.FleetLock.Listen, "fleetlock-listen", cfg.FleetLock.Listen, "`HOST:PORT` for FleetLock hosts off loopback (networks in the config file)")
	flags.DurationVar(&cfg.FleetLock.Wait, "fleetlock-wait", cfg.FleetLock.Wait, "how long a FleetLock request is parked")
	flags.BoolVar(&cfg.FleetLock.StrictAddress, "fleetlock-strict-address", cfg.FleetLock.StrictAddress, "refuse a FleetLock id that asks from a second address")
	flags.StringSliceVar(&cfg.Etcd.Endpoints, "etcd-endpoints", cfg.Etcd.Endpoints, "`URL`s of an existing etcd, separated by commas; nothing is embedded then")
	flags.StringVar(&cfg.Etcd.Prefix, "etcd-prefix", cfg.Etcd.Prefix, "prefix of all keys in an existing etcd (default /lockkeeper/)")
	flags.StringVar(&cfg.Etcd.CA, "etcd-ca", cfg.Etcd.CA, "PEM `FILE` of the CA of an existing etcd")
	flags.StringVar(&cfg.Etcd.Cert, "etcd-cert", cfg.Etcd.Cert, "PEM `FILE` of the certificate shown to it")
	flags.StringVar(&cfg.Etcd.Key, "etcd-key", cfg.Etcd.Key, "PEM `FILE` of its key")
	flags.StringVar(&cfg.Etcd.Username, "etcd-username", cfg.Etcd.Username, "user of an existing etcd")
	flags.StringVar(&cfg.Etcd.PasswordFile, "etcd-password-file", cfg.Etcd.PasswordFile, "`FILE` with the user's password")
	flags.BoolVar(&cfg.Etcd.Insecure, "etcd-insecure", cfg.Etcd.Insecure, "allow an existing etcd over http beyond this host")
	flags.StringVar(&cfg.Snapshots.Dir, "snapshots-dir", cfg.Snapshots.Dir, "`DIR` for scheduled snapshots of the embedded store; without one none are taken")
	flags.DurationVar(&cfg.Snapshots.Every, "snapshots-every", cfg.Snapshots.Every, "how often")
	flags.IntVar(&cfg.Snapshots.Keep, "snapshots-keep", cfg.Snapshots.Keep, "how many to keep")
	flags.StringVar(&cfg.Gates.PrometheusURL, "gates-prometheus-url", cfg.Gates.PrometheusURL, "`URL` of the Prometheus that gates of rollouts ask")
	flags.StringVar(&cfg.Gates.PrometheusTokenFile, "gates-prometheus-token-file", cfg.Gates.PrometheusTokenFile, "`FILE` with a bearer token for it")
	flags.StringVar(&cfg.Gates.AlertmanagerURL, "gates-alertmanager-url", cfg.Gates.AlertmanagerURL, "`URL` of the Alertmanager that gates of rollouts ask")
	flags.StringVar(&cfg.Gates.AlertmanagerTokenFile, "gates-alertmanager-token-file", cfg.Gates.AlertmanagerTokenFile, "`FILE` with a bearer token for it")
	flags.StringVar(&cfg.Gates.CAFile, "gates-ca-file", cfg.Gates.CAFile, "PEM `FILE` of the CA of what gates ask (default: the system's)")
	flags.StringSliceVar(&cfg.Gates.Allow, "gates-allow", cfg.Gates.Allow, "`HOST` that gates may ask beside those two, as web.example.com:8443 or *.example.com (repeatable)")
	flags.StringSliceVar(&cfg.Gates.Commands, "gates-command", cfg.Gates.Commands, "absolute `PATH` of a program that gates may run here (repeatable)")
	flags.DurationVar(&cfg.Gates.AlertmanagerSettle, "gates-alertmanager-settle", cfg.Gates.AlertmanagerSettle, "how long an Alertmanager must have been up to be believed that nothing fires")
	flags.StringVar(&cfg.Silences.AlertmanagerURL, "silences-alertmanager-url", cfg.Silences.AlertmanagerURL, "`URL` of the Alertmanager in which alerts of hosts that are out of service are silenced; without one none are")
	flags.StringVar(&cfg.Silences.TokenFile, "silences-token-file", cfg.Silences.TokenFile, "`FILE` with a bearer token for it")
	flags.StringVar(&cfg.Silences.CAFile, "silences-ca-file", cfg.Silences.CAFile, "PEM `FILE` of its CA (default: the system's)")
	flags.StringArrayVar(&cfg.Silences.Matchers, "silences-matcher", cfg.Silences.Matchers, "`MATCHER` of a host's silence, with {node} or {label.NAME} in its value (repeatable)")
	flags.DurationVar(&cfg.Silences.For, "silences-for", cfg.Silences.For, "how far ahead a silence reaches, and is renewed")
	flags.DurationVar(&cfg.Silences.Linger, "silences-linger", cfg.Silences.Linger, "how long after its slot's return a host stays silent")
	flags.StringVar(&cfg.Name, "name", cfg.Name, "`NAME` of this coordinator among the others (default: the host name)")
	flags.StringVar(&cfg.Peer.Listen, "peer-listen", cfg.Peer.Listen, "`IP:PORT` for the other coordinators of the cluster; without it this one stays alone")
	flags.StringVar(&cfg.Peer.URL, "peer-url", cfg.Peer.URL, "`URL`, https://HOST:PORT, by which they reach it (default: made of --peer-listen)")
	flags.StringSliceVar(&cfg.Join.Servers, "join", cfg.Join.Servers, "`URL`s of coordinators whose cluster to join, if the data dir holds nothing")
	flags.StringVar(&cfg.Join.TokenFile, "join-token-file", cfg.Join.TokenFile, "`FILE` with the join token of `lockkeeper cluster token`; - is the standard input")
	flags.StringVar(&cfg.Log.Level, "log-level", cfg.Log.Level, "debug, info, warn or error")
	flags.StringVar(&cfg.Log.Format, "log-format", cfg.Log.Format, "text or json")
}

// mergeConfig reads the file over the defaults, and what flags and environment
// set over the file.
func mergeConfig(file string, fromFlags coordinator.Config, flags *pflag.FlagSet) (coordinator.Config, error) {
	if file == "" {
		return fromFlags, fromFlags.Validate()
	}
	cfg := coordinator.DefaultConfig()
	cfg.Join.Token = fromFlags.Join.Token
	if err := coordinator.ReadConfig(file, &cfg); err != nil {
		return cfg, err
	}
	over := pflag.NewFlagSet("", pflag.ContinueOnError)
	bindConfig(over, &cfg)
	var err error
	flags.Visit(func(f *pflag.Flag) {
		target := over.Lookup(f.Name)
		if target == nil || err != nil {
			return
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			err = target.Value.(pflag.SliceValue).Replace(list.GetSlice())
			return
		}
		err = target.Value.Set(f.Value.String())
	})
	if err != nil {
		return cfg, err
	}
	return cfg, cfg.Validate()
}

// settingFlags are the flags whose name is not that of their field.
var settingFlags = map[string]string{"hosts": "host", "join.servers": "join", "gates.commands": "gates-command", "silences.matchers": "silences-matcher"}

// nameSources names each bad field by the flag or the variable that set it. One
// from the file keeps its path there.
func nameSources(err error, flags *pflag.FlagSet) error {
	var list interface{ Unwrap() []error }
	if !errors.As(err, &list) {
		return err
	}
	var named []error
	for _, e := range list.Unwrap() {
		var field *coordinator.FieldError
		if errors.As(e, &field) {
			name := settingFlags[field.Field]
			if name == "" {
				name = strings.NewReplacer(".", "-", "_", "-").Replace(field.Field)
			}
			if f := flags.Lookup(name); f != nil && f.Changed {
				e = fmt.Errorf("%s: %s", cli.Source(f), field.Detail)
			}
		}
		named = append(named, e)
	}
	return errors.Join(named...)
}

// serve runs a coordinator until the context ends or its store does.
func serve(ctx context.Context, cfg coordinator.Config) error {
	memory.Tune()
	log := coordinator.NewLogger(cfg.Log, os.Stderr)
	c, err := coordinator.New(cfg, coordinator.Options{Logger: log, Version: cli.Version()})
	if err != nil {
		return &exitError{exitUsage, err}
	}
	started := time.Now()
	if err := c.Start(ctx); err != nil {
		if errors.Is(err, context.Canceled) {
			return nil
		}
		switch {
		case coordinator.IsMistake(err):
			return &exitError{exitUsage, err}
		case errors.Is(err, coordinator.ErrStoreEnded):
			return &exitError{exitStore, err}
		}
		return &exitError{exitFailed, err}
	}
	log.Info("ready", "url", c.URL(), "after", time.Since(started).Round(time.Millisecond))
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Warn("systemd could not be told that the coordinator is ready", "error", err)
	}
	select {
	case <-ctx.Done():
		_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
		log.Info("stopping")
		if err := c.Stop(); err != nil {
			return &exitError{exitFailed, fmt.Errorf("stopping: %w", err)}
		}
		return nil
	case err := <-c.Fatal():
		if coordinator.IsMistake(err) {
			// It was removed from its cluster, perhaps by a request that it is
			// still answering.
			stopWithin(c, removedWithin, log)
			return &exitError{exitUsage, err}
		}
		// Nothing of a store that failed for good can be closed; the data is
		// what the last commit left, and the next start goes on from there.
		return &exitError{exitStore, fmt.Errorf("the store ended: %w", err)}
	}
}

// removedWithin is how long a coordinator that was removed may take to end.
const removedWithin = 5 * time.Second

// stopWithin ends what can be ended by then.
func stopWithin(c *coordinator.Coordinator, within time.Duration, log *slog.Logger) {
	done := make(chan error, 1)
	go func() { done <- c.Stop() }()
	select {
	case err := <-done:
		if err != nil {
			log.Warn("stopping", "error", err)
		}
	case <-time.After(within):
		log.Warn("not everything could be stopped", "within", within)
	}
}
