package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle/signature"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// bundleOptions are the flags that say which bundles this host takes.
type bundleOptions struct {
	trustedKeys string
	from        client.DownloaderConfig
	maxSize     int64 // MiB

	// What check made of them.
	trust      *signature.Trust
	downloader *client.Downloader
}

func (o *bundleOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.trustedKeys, "trusted-keys", "", "file of allowed signers, as ssh-keygen has it: a bundle that none of them has signed is refused (default: no signature is asked for)")
	f.StringSliceVar(&o.from.Sources, "bundle-source", []string{"https://"}, "beginnings of the URLs that a bundle may be fetched from, each with a / at its end, several with commas between")
	f.StringVar(&o.from.CAFile, "bundle-ca-file", "", "PEM file of the authorities that may vouch for those servers (default: the system's)")
	f.Int64Var(&o.maxSize, "max-bundle-size", 256, "largest bundle that is fetched, in MiB")
}

// check reads what the flags name.
func (o *bundleOptions) check() (err error) {
	if most := int64(bundle.MaxLinked >> 20); o.maxSize < 1 || o.maxSize > most {
		return fmt.Errorf("--max-bundle-size %d: want 1 to %d, in MiB", o.maxSize, most)
	}
	if o.downloader, err = client.NewDownloader(o.from); err != nil {
		return fmt.Errorf("--bundle-source: %w", err)
	}
	if o.trustedKeys != "" {
		if o.trust, err = signature.ReadTrust(o.trustedKeys); err != nil {
			return fmt.Errorf("--trusted-keys: %w", err)
		}
	}
	return nil
}
