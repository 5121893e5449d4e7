// Package bundle is the format of a config update: one file that holds a
// manifest and the content of some files, named by the SHA-256 of its bytes.
//
// The file is an uncompressed tar. Its first member is manifest.json, the
// others are files/<absolute path on the host>, in the manifest's order, and
// nothing follows. Times and owners in the tar are zero, so that the same
// content always gives the same digest. Encode writes it; Open verifies every
// byte of it and refuses whatever is not described here.
//
// Reading a source folder (bundle.yaml and files/) is the work of package
// create, so that the agent does not link a YAML reader.
package bundle
