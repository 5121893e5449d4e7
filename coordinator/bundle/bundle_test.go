package bundle

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func sample() (Manifest, map[string][]byte) {
	return Manifest{
			Name: "web 2",
			Files: []File{
				{Path: "/etc/nginx/nginx.conf", Interrupt: InterruptReload, Units: []string{"nginx.service"}},
				{Path: "/etc/motd", Mode: "0600"},
			},
			Command: &Command{Run: "true"},
			Health:  []Probe{{TCP: "127.0.0.1:80"}},
		}, map[string][]byte{
			"/etc/nginx/nginx.conf": []byte("worker_processes 2;\n"),
			"/etc/motd":             []byte("welcome\n"),
		}
}

func encoded(t *testing.T) []byte {
	t.Helper()
	m, content := sample()
	b, err := Encode(m, content)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func text(t *testing.T, b *Bundle, path string) string {
	t.Helper()
	body, err := b.Content(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestEncode_SameContentGivesTheSameBytes(t *testing.T) {
	if !bytes.Equal(encoded(t), encoded(t)) {
		t.Fatal("two encodings differ")
	}
}

func TestOpen_GivesBackWhatWasEncoded(t *testing.T) {
	raw := encoded(t)
	b, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if b.Digest != Digest(raw) || b.Size != int64(len(raw)) {
		t.Errorf("digest %s size %d", b.Digest, b.Size)
	}
	if got := text(t, b, "/etc/motd"); got != "welcome\n" {
		t.Errorf("content %q", got)
	}
	if b.Manifest.Files[0].Path != "/etc/motd" || b.Manifest.Files[0].Mode != "0600" {
		t.Errorf("files are not in order: %+v", b.Manifest.Files)
	}
	if b.Greatest() != InterruptReload {
		t.Errorf("greatest interrupt %s", b.Greatest())
	}
	if b.Manifest.HealthyDeadline != DefaultHealthyDeadline || b.Manifest.Health[0].Timeout != DefaultProbeTimeout {
		t.Errorf("defaults are missing: %+v", b.Manifest)
	}
}

// raw writes a tar of headers and bodies, with nothing checked.
func raw(t *testing.T, members ...any) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for i := 0; i < len(members); i += 2 {
		h, body := members[i].(tar.Header), members[i+1].([]byte)
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(body))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(body); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// manifest is the text of a manifest with one file /etc/a of content "a".
func manifest(t *testing.T, change func(m map[string]any, file map[string]any)) []byte {
	t.Helper()
	file := map[string]any{"path": "/etc/a", "mode": "0644", "size": 1, "sha256": Digest([]byte("a")), "interrupt": "none"}
	m := map[string]any{"v": 1, "name": "one", "min_healthy_time": "0s", "healthy_deadline": "1m"}
	if change != nil {
		change(m, file)
	}
	if _, ok := m["files"]; !ok {
		m["files"] = []any{file}
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOpen_TheHandMadeBundleOfTheseTestsIsAccepted(t *testing.T) {
	b := raw(t, tar.Header{Name: "manifest.json"}, manifest(t, nil), tar.Header{Name: "files/etc/a"}, []byte("a"))
	if _, err := Parse(b); err != nil {
		t.Fatal(err)
	}
}

func TestOpen_RefusesWhatIsNotABundleAndSaysWhatIsAccepted(t *testing.T) {
	head, a := tar.Header{Name: "manifest.json"}, []byte("a")
	good := manifest(t, nil)
	ok := raw(t, head, good, tar.Header{Name: "files/etc/a"}, a)
	in := func(change func(m, file map[string]any)) []byte {
		return raw(t, head, manifest(t, change), tar.Header{Name: "files/etc/a"}, a)
	}
	second := func(h tar.Header) []byte { return raw(t, head, good, h, a) }
	for name, c := range map[string]struct {
		bundle []byte
		want   string // part of the message
	}{
		"empty file":                {nil, "does not begin with manifest.json"},
		"text":                      {[]byte(strings.Repeat("hello", 300)), "not a tar"},
		"no manifest first":         {raw(t, tar.Header{Name: "files/etc/a"}, a, head, good), "does not begin with manifest.json"},
		"path upwards":              {second(tar.Header{Name: "files/../etc/a"}), "files/../etc/a"},
		"absolute tar name":         {second(tar.Header{Name: "/etc/a"}), "files/<path>"},
		"name outside files":        {second(tar.Header{Name: "etc/a"}), "files/<path>"},
		"doubled slash":             {second(tar.Header{Name: "files//etc/a"}), "files/<path>"},
		"symbolic link":             {second(tar.Header{Name: "files/etc/a", Typeflag: tar.TypeSymlink, Linkname: "/etc/shadow"}), "symbolic link"},
		"hard link":                 {second(tar.Header{Name: "files/etc/a", Typeflag: tar.TypeLink, Linkname: "files/etc/b"}), "hard link"},
		"device":                    {second(tar.Header{Name: "files/etc/a", Typeflag: tar.TypeBlock}), "device"},
		"character device":          {second(tar.Header{Name: "files/etc/a", Typeflag: tar.TypeChar}), "device"},
		"named pipe":                {second(tar.Header{Name: "files/etc/a", Typeflag: tar.TypeFifo}), "named pipe"},
		"folder":                    {second(tar.Header{Name: "files/etc/a/", Typeflag: tar.TypeDir}), "folder"},
		"extended attribute":        {second(tar.Header{Name: "files/etc/a", PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}}), "SCHILY.xattr.user.x"},
		"owner in the tar":          {second(tar.Header{Name: "files/etc/a", Uid: 7}), "owner"},
		"other mode in the tar":     {second(tar.Header{Name: "files/etc/a", Mode: 0o4755}), "4755"},
		"other content":             {raw(t, head, good, tar.Header{Name: "files/etc/a"}, []byte("b")), "digest"},
		"missing content":           {raw(t, head, good), "content is missing"},
		"the same file twice":       {raw(t, head, good, tar.Header{Name: "files/etc/a"}, a, tar.Header{Name: "files/etc/a"}, a), "each file of the manifest once"},
		"a file nobody named":       {raw(t, head, good, tar.Header{Name: "files/etc/a"}, a, tar.Header{Name: "files/etc/b"}, a), "each file of the manifest once"},
		"manifest twice":            {raw(t, head, good, head, good), "files/etc/a"},
		"trailing data":             {append(bytes.Clone(ok), "more"...), "behind the end"},
		"cut off":                   {ok[:300], "cut off"},
		"without its end":           {ok[:len(ok)-1024], "cut off"},
		"too large":                 {append(bytes.Clone(ok), make([]byte, MaxSize)...), "at most 1048576 bytes"},
		"unknown member":            {in(func(m, _ map[string]any) { m["surprise"] = 1 }), "surprise"},
		"unknown member of a file":  {in(func(_, f map[string]any) { f["acl"] = "x" }), "acl"},
		"newer version":             {in(func(m, _ map[string]any) { m["v"] = 2 }), "newer lockkeeper"},
		"two manifests in one":      {raw(t, head, append(bytes.Clone(good), "{}"...)), "one JSON object"},
		"no name":                   {in(func(m, _ map[string]any) { m["name"] = "" }), "printable"},
		"name with a line break":    {in(func(m, _ map[string]any) { m["name"] = "a\nb" }), "printable"},
		"no files":                  {raw(t, head, manifest(t, func(m, _ map[string]any) { m["files"] = []any{} })), "1 to 1000"},
		"relative path":             {in(func(_, f map[string]any) { f["path"] = "etc/a" }), "absolute path"},
		"path with dots":            {in(func(_, f map[string]any) { f["path"] = "/etc/../a" }), "absolute path"},
		"the root":                  {in(func(_, f map[string]any) { f["path"] = "/" }), "absolute path"},
		"path with a control":       {in(func(_, f map[string]any) { f["path"] = "/etc/a\x01" }), "control characters"},
		"setuid mode":               {in(func(_, f map[string]any) { f["mode"] = "4755" }), "0000 to 0777"},
		"mode that is no octal":     {in(func(_, f map[string]any) { f["mode"] = "0999" }), "0000 to 0777"},
		"owner without a group":     {in(func(_, f map[string]any) { f["owner"] = "root" }), "user:group"},
		"interrupt nobody knows":    {in(func(_, f map[string]any) { f["interrupt"] = "kexec" }), "none, reload, restart, soft-reboot, reboot"},
		"reload without units":      {in(func(_, f map[string]any) { f["interrupt"] = "reload" }), "units to reload"},
		"units without reload":      {in(func(_, f map[string]any) { f["units"] = []string{"a.service"} }), "units only with"},
		"a unit that is an option":  {in(func(_, f map[string]any) { f["interrupt"] = "restart"; f["units"] = []string{"--now"} }), "systemd units"},
		"wrong size":                {in(func(_, f map[string]any) { f["size"] = 2 }), "size and digest"},
		"digest in capitals":        {in(func(_, f map[string]any) { f["sha256"] = strings.ToUpper(Digest(a)) }), "lower case"},
		"files out of order":        {raw(t, head, manifest(t, func(m, f map[string]any) { m["files"] = []any{with(f, "/etc/b"), f} })), "order of their paths"},
		"path twice":                {raw(t, head, manifest(t, func(m, f map[string]any) { m["files"] = []any{f, f} })), "twice"},
		"a file as a folder":        {raw(t, head, manifest(t, func(m, f map[string]any) { m["files"] = []any{f, with(f, "/etc/a/b")} })), "is a file and the folder"},
		"command without a timeout": {in(func(m, _ map[string]any) { m["command"] = map[string]any{"run": "true", "timeout": "0s"} }), "at most 1h"},
		"empty check":               {in(func(m, _ map[string]any) { m["check"] = map[string]any{"run": " ", "timeout": "1s"} }), "line for /bin/sh"},
		"probe of two kinds": {in(func(m, _ map[string]any) {
			m["health"] = []any{map[string]any{"tcp": "a:1", "http": "http://a", "timeout": "1s"}}
		}), "exactly one"},
		"probe of a unit that is an option": {in(func(m, _ map[string]any) { m["health"] = []any{map[string]any{"unit": "-a", "timeout": "1s"}} }), "systemd unit"},
		"requires nothing":                  {in(func(m, _ map[string]any) { m["requires"] = map[string]any{} }), "no requires at all"},
		"an architecture of another name":   {in(func(m, _ map[string]any) { m["requires"] = map[string]any{"arch": []string{"x86_64"}} }), "amd64"},
		"a label without a value": {in(func(m, _ map[string]any) {
			m["requires"] = map[string]any{"labels": map[string]any{"zone": []string{}}}
		}), "of which the host must have one"},
		"no variable of os-release": {in(func(m, _ map[string]any) {
			m["requires"] = map[string]any{"os_release": map[string]any{"id": []string{"debian"}}}
		}), "variables of os-release"},
		"version of two lines":        {in(func(m, _ map[string]any) { m["version"] = "a\nb" }), "printable"},
		"rendered file that is large": {in(func(_, f map[string]any) { f["render"] = true; f["size"] = MaxSize + 1 }), "values of the host"},
		"probe of an ftp URL":         {in(func(m, _ map[string]any) { m["health"] = []any{map[string]any{"http": "ftp://a", "timeout": "1s"}} }), "a URL such as"},
		"probe of no port":            {in(func(m, _ map[string]any) { m["health"] = []any{map[string]any{"tcp": "a", "timeout": "1s"}} }), "host:port"},
		"probe without a timeout":     {in(func(m, _ map[string]any) { m["health"] = []any{map[string]any{"tcp": "a:1", "timeout": "0s"}} }), "at most 10m"},
		"healthy time past deadline":  {in(func(m, _ map[string]any) { m["min_healthy_time"] = "1m" }), "less than healthy_deadline"},
		"no deadline":                 {in(func(m, _ map[string]any) { m["healthy_deadline"] = "0s" }), "at most 24h"},
		"duration that is a number":   {in(func(m, _ map[string]any) { m["healthy_deadline"] = 60 }), "accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(c.bundle)
			var e *api.Error
			if !errors.As(err, &e) {
				t.Fatalf("want an api.Error, got %v", err)
			}
			if !strings.Contains(e.Detail, c.want) || !strings.Contains(e.Detail, "; accepted: ") {
				t.Errorf("message %q does not say %q and what is accepted", e.Detail, c.want)
			}
			if len(e.Fields) != 1 || e.Fields[0].Path == "" {
				t.Errorf("message does not say where: %+v", e.Fields)
			}
		})
	}
}

func with(file map[string]any, path string) map[string]any {
	other := map[string]any{}
	for k, v := range file {
		other[k] = v
	}
	other["path"] = path
	return other
}

func TestEncode_RefusesContentThatDoesNotFitTheManifest(t *testing.T) {
	m, content := sample()
	delete(content, "/etc/motd")
	if _, err := Encode(m, content); err == nil || !strings.Contains(err.Error(), "/etc/motd") {
		t.Errorf("missing content: %v", err)
	}
	m, content = sample()
	content["/etc/extra"] = nil
	if _, err := Encode(m, content); err == nil || !strings.Contains(err.Error(), "/etc/extra") {
		t.Errorf("surplus content: %v", err)
	}
	m, content = sample()
	content["/etc/motd"] = make([]byte, MaxSize)
	var e *api.Error
	if _, err := Encode(m, content); !errors.As(err, &e) || e.Kind != api.TooLarge {
		t.Errorf("too large: %v", err)
	}
}

func TestEncode_KeepsLongPaths(t *testing.T) {
	p := "/srv/" + strings.Repeat("deep/", 60) + "ä"
	b, err := Encode(Manifest{Name: "long", Files: []File{{Path: p}}}, map[string][]byte{p: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(b)
	if err != nil || text(t, got, p) != "x" {
		t.Fatalf("%v", err)
	}
}

// FuzzParse: whatever comes in, Parse neither panics nor accepts a bundle whose
// files are not those of its manifest.
func FuzzParse(f *testing.F) {
	m, content := sample()
	b, err := Encode(m, content)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:700])
	f.Add([]byte("manifest.json"))
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := Parse(in)
		if err != nil {
			var e *api.Error
			if !errors.As(err, &e) {
				t.Fatalf("an error that is no api.Error: %v", err)
			}
			return
		}
		if err := b.Manifest.Validate(); err != nil {
			t.Fatal(err)
		}
		for _, file := range b.Manifest.Files {
			if ValidPath(file.Path) != nil || Digest([]byte(text(t, b, file.Path))) != file.SHA256 {
				t.Fatalf("accepted %+v", file)
			}
		}
	})
}
