package bundle

import (
	"encoding/hex"
	"net"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

var (
	modeForm  = regexp.MustCompile(`^0[0-7]{3}$`)
	ownerForm = regexp.MustCompile(`^([a-z_][a-z0-9_.-]{0,31}|[0-9]{1,9}):([a-z_][a-z0-9_.-]{0,31}|[0-9]{1,9})$`)
	unitForm  = regexp.MustCompile(`^[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]{0,254}$`)
)

// problem is the one form of this package's errors: where, what, what is accepted.
func problem(where, what, accepted string) *api.Error {
	return &api.Error{
		Kind:   api.Invalid,
		Detail: "bundle: " + where + ": " + what + "; accepted: " + accepted,
		Fields: []api.FieldError{{Path: where, Detail: what + "; accepted: " + accepted}},
	}
}

// Validate reports the first thing in the manifest that is not accepted, as an
// *api.Error that says where. It does not look at the content of files.
func (m *Manifest) Validate() error {
	if m.V != Version {
		return problem("v", "format version "+strconv.Itoa(m.V), "1; a newer one needs a newer lockkeeper")
	}
	if n := utf8.RuneCountInString(m.Name); n < 1 || n > 100 || !printable(m.Name) {
		return problem("name", strconv.Quote(m.Name), "1 to 100 printable characters")
	}
	if utf8.RuneCountInString(m.Version) > 100 || !printable(m.Version) {
		return problem("version", strconv.Quote(clip(m.Version)), "at most 100 printable characters, or nothing")
	}
	if err := m.Requires.validate(); err != nil {
		return err
	}
	if len(m.Files) < 1 || len(m.Files) > MaxFiles {
		return problem("files", strconv.Itoa(len(m.Files))+" files", "1 to "+strconv.Itoa(MaxFiles))
	}
	for i, f := range m.Files {
		where := "files[" + strconv.Itoa(i) + "]"
		if err := f.validate(where); err != nil {
			return err
		}
		if i == 0 {
			continue
		}
		switch before := m.Files[i-1].Path; {
		case before == f.Path:
			return problem(where+".path", strconv.Quote(f.Path)+" is there twice", "each path once")
		case before > f.Path:
			return problem(where+".path", strconv.Quote(f.Path)+" after "+strconv.Quote(before), "files in the order of their paths")
		}
	}
	if p, child := fileAsFolder(m.Files); p != "" {
		return problem("files", strconv.Quote(p)+" is a file and the folder of "+strconv.Quote(child), "one of the two")
	}
	if err := m.Check.validate("check"); err != nil {
		return err
	}
	if err := m.Command.validate("command"); err != nil {
		return err
	}
	if len(m.Health) > maxProbes {
		return problem("health", strconv.Itoa(len(m.Health))+" checks", "at most "+strconv.Itoa(maxProbes))
	}
	for i, p := range m.Health {
		if err := p.validate("health[" + strconv.Itoa(i) + "]"); err != nil {
			return err
		}
	}
	if m.HealthyDeadline <= 0 || m.HealthyDeadline > Duration(24*time.Hour) {
		return problem("healthy_deadline", m.HealthyDeadline.String(), "more than 0s, at most 24h")
	}
	if m.MinHealthyTime < 0 || m.MinHealthyTime >= m.HealthyDeadline {
		return problem("min_healthy_time", m.MinHealthyTime.String(), "from 0s to less than healthy_deadline ("+m.HealthyDeadline.String()+")")
	}
	return nil
}

func (f *File) validate(where string) error {
	if err := ValidPath(f.Path); err != nil {
		err.Fields[0].Path = where + ".path"
		err.Detail = "bundle: " + where + ".path: " + err.Fields[0].Detail
		return err
	}
	where += " (" + f.Path + ")"
	if !modeForm.MatchString(f.Mode) {
		return problem(where+".mode", strconv.Quote(f.Mode), "an octal mode from 0000 to 0777 as a text such as \"0644\"")
	}
	if f.Owner != "" && !ownerForm.MatchString(f.Owner) {
		return problem(where+".owner", strconv.Quote(f.Owner), "\"user:group\", names or numbers")
	}
	if f.Size < 0 || f.Size > MaxLinked {
		return problem(where+".size", strconv.FormatInt(f.Size, 10), "0 to "+strconv.Itoa(MaxLinked)+" bytes")
	}
	if f.Render && f.Size > MaxSize {
		return problem(where+".render", "true for "+strconv.FormatInt(f.Size, 10)+" bytes", "at most "+strconv.Itoa(MaxSize)+" bytes in a file with values of the host")
	}
	if b, err := hex.DecodeString(f.SHA256); err != nil || len(b) != 32 || strings.ToLower(f.SHA256) != f.SHA256 {
		return problem(where+".sha256", strconv.Quote(f.SHA256), "64 lower case hexadecimal digits")
	}
	if f.Interrupt.rank() < 0 {
		return problem(where+".interrupt", strconv.Quote(string(f.Interrupt)), interruptNames())
	}
	needsUnits := f.Interrupt.OfUnits()
	if needsUnits && len(f.Units) == 0 {
		return problem(where+".units", "none, though the interrupt is "+string(f.Interrupt), "the units to "+string(f.Interrupt))
	}
	if !needsUnits && len(f.Units) > 0 {
		return problem(where+".units", "given, though the interrupt is "+string(f.Interrupt), "units only with reload or restart")
	}
	if len(f.Units) > maxUnits {
		return problem(where+".units", strconv.Itoa(len(f.Units))+" units", "at most "+strconv.Itoa(maxUnits))
	}
	for _, u := range f.Units {
		if !unitForm.MatchString(u) {
			return problem(where+".units", strconv.Quote(clip(u)), "names of systemd units such as nginx.service")
		}
	}
	return nil
}

// ValidPath reports why a text is no path of a bundle's file.
func ValidPath(p string) *api.Error {
	const accepted = "an absolute path without . or .. or // in it, such as /etc/motd"
	switch {
	case !strings.HasPrefix(p, "/"), path.Clean(p) != p, p == "/":
		return problem(strconv.Quote(p), strconv.Quote(p), accepted)
	case len(p) > 1024:
		return problem(strconv.Quote(p[:40]+"…"), "a path of "+strconv.Itoa(len(p))+" bytes", "at most 1024 bytes")
	case !utf8.ValidString(p), !printable(p):
		return problem(strconv.Quote(p), strconv.Quote(p)+" has control characters or is not UTF-8", accepted)
	}
	return nil
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// fileAsFolder finds a file that another one would need as its folder.
func fileAsFolder(files []File) (parent, child string) {
	paths := make(map[string]bool, len(files))
	for _, f := range files {
		paths[f.Path] = true
	}
	for _, f := range files {
		for d := path.Dir(f.Path); d != "/"; d = path.Dir(d) {
			if paths[d] {
				return d, f.Path
			}
		}
	}
	return "", ""
}

func (c *Command) validate(where string) error {
	if c == nil {
		return nil
	}
	if strings.TrimSpace(c.Run) == "" || len(c.Run) > 16<<10 || strings.ContainsRune(c.Run, 0) {
		return problem(where+".run", strconv.Quote(clip(c.Run)), "a line for /bin/sh, 1 to 16384 bytes")
	}
	if c.Timeout <= 0 || c.Timeout > Duration(time.Hour) {
		return problem(where+".timeout", c.Timeout.String(), "more than 0s, at most 1h")
	}
	return nil
}

func (p *Probe) validate(where string) error {
	set := 0
	for _, s := range []string{p.Command, p.HTTP, p.TCP, p.Unit} {
		if s != "" {
			set++
		}
	}
	if set != 1 {
		return problem(where, strconv.Itoa(set)+" kinds of check", "exactly one of command, http, tcp and unit")
	}
	if p.HTTP != "" {
		u, err := url.Parse(p.HTTP)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return problem(where+".http", strconv.Quote(clip(p.HTTP)), "a URL such as http://127.0.0.1:8080/healthz")
		}
	}
	if p.TCP != "" {
		_, port, err := net.SplitHostPort(p.TCP)
		if n, e := strconv.Atoi(port); err != nil || e != nil || n < 1 || n > 65535 {
			return problem(where+".tcp", strconv.Quote(clip(p.TCP)), "host:port such as 127.0.0.1:5432")
		}
	}
	if p.Unit != "" && !unitForm.MatchString(p.Unit) {
		return problem(where+".unit", strconv.Quote(clip(p.Unit)), "the name of a systemd unit such as nginx.service")
	}
	if len(p.Command) > 16<<10 || strings.ContainsRune(p.Command, 0) {
		return problem(where+".command", strconv.Quote(clip(p.Command)), "a line for /bin/sh, at most 16384 bytes")
	}
	if p.Timeout <= 0 || p.Timeout > Duration(10*time.Minute) {
		return problem(where+".timeout", p.Timeout.String(), "more than 0s, at most 10m")
	}
	return nil
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}
