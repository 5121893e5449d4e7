package api

import "time"

// Bundle is a config update as stored.
type Bundle struct {
	Digest    string       `json:"digest"` // sha256 of the file, in hex
	Name      string       `json:"name"`
	Version   string       `json:"version,omitempty"` // for people
	Size      int64        `json:"size"`              // bytes
	CreatedAt time.Time    `json:"created_at"`
	By        string       `json:"by"`
	Files     []BundleFile `json:"files,omitempty"`
	Interrupt string       `json:"interrupt,omitempty"` // the greatest that a file asks for
	Nodes     int          `json:"nodes"`               // that have it in place
	// URL is where the file lies, "" for one that the coordinators store.
	URL string `json:"url,omitempty"`
	// SignedBy are the fingerprints of the keys that signed the digest, which
	// need not be trusted by anybody; Signatures are what they signed it with,
	// as text, and Manifest is the bundle's manifest.json: both in a single
	// bundle's answer.
	SignedBy   []string       `json:"signed_by,omitempty"`
	Signatures []string       `json:"signatures,omitempty"`
	Manifest   map[string]any `json:"manifest,omitempty"`
}

// BundleLink makes a bundle known that lies elsewhere. Whoever fetches it
// compares its size, its digest and its manifest.
type BundleLink struct {
	URL      string         `json:"url"`      // https, or http where agents are told to accept that
	Size     int64          `json:"size"`     // bytes of the file
	Manifest map[string]any `json:"manifest"` // its manifest.json
}

// BundleSignature is an SSH signature of a bundle's digest, as text.
type BundleSignature struct {
	Signature string `json:"signature"`
}

// BundleFile is one file of a bundle.
type BundleFile struct {
	Path      string `json:"path"`
	Mode      string `json:"mode"` // "0644"
	Size      int64  `json:"size"`
	Interrupt string `json:"interrupt"`
}
