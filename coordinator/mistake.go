package coordinator

import (
	"errors"

	"github.com/lockkeeper/lockkeeper/coordinator/door"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
)

// IsMistake reports whether Start failed by what a person has to mend first, so
// that trying again cannot help: an address that is none, a certificate or a file of
// the settings that cannot be used, a data folder of somebody else, one that is
// damaged, half restored or on a disk that fails, an etcd that holds something else,
// a cluster that does not take this one in, or one that has let it go.
func IsMistake(err error) bool {
	var listen *door.Mistake
	var file *etcdnode.FileError
	return errors.As(err, &listen) || errors.As(err, &file) ||
		errors.Is(err, etcdnode.ErrCorrupt) || errors.Is(err, etcdnode.ErrMarkerWithoutData) ||
		errors.Is(err, etcdnode.ErrRestoring) || errors.Is(err, etcdnode.ErrRecovering) || errors.Is(err, etcdnode.ErrDiskFails) ||
		errors.Is(err, etcdnode.ErrForeignFolder) || errors.Is(err, etcdnode.ErrEmbeddedHere) ||
		errors.Is(err, etcdnode.ErrRemoved) || errors.Is(err, etcdnode.ErrJoining) || errors.Is(err, etcdnode.ErrNoPeerAddress) || errors.Is(err, errJoinRefused) ||
		errors.Is(err, etcdstore.ErrNotEmpty) || errors.Is(err, errOtherCluster)
}
