// Package cli holds what the three programs share on the command line: every
// flag as a variable of the environment, the version, tables and short texts
// for ages and sizes.
package cli
