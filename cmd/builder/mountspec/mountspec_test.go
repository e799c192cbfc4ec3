package mountspec

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/builder-oci/builder/rootless/container"
)

func TestVolume(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]container.Mount{
		"/data":                       {Type: "volume", Anonymous: true, Destination: "/data"},
		"/data/../x/":                 {Type: "volume", Anonymous: true, Destination: "/x"},
		"data:/srv":                   {Type: "volume", Name: "data", Destination: "/srv"},
		"data:/srv:":                  {Type: "volume", Name: "data", Destination: "/srv"},
		"data:/srv:ro,nocopy,Z,U":     {Type: "volume", Name: "data", Destination: "/srv", ReadOnly: true, NoCopy: true, Chown: true},
		"/a/./b:/srv:rw":              {Type: "bind", Source: "/a/b", Destination: "/srv"},
		"./x:/srv":                    {Type: "bind", Source: filepath.Join(here, "x"), Destination: "/srv"},
		"..:/srv":                     {Type: "bind", Source: filepath.Dir(here), Destination: "/srv"},
		"/a:/srv:rprivate,cached,z":   {Type: "bind", Source: "/a", Destination: "/srv", Options: []string{"rprivate"}},
		"/no/such/directory:/srv:ro":  {Type: "bind", Source: "/no/such/directory", Destination: "/srv", ReadOnly: true},
		"/a b,c:/d e:ro":              {Type: "bind", Source: "/a b,c", Destination: "/d e", ReadOnly: true},
		"data:/a=b":                   {Type: "volume", Name: "data", Destination: "/a=b"},
		"/data:/data:private,ro":      {Type: "bind", Source: "/data", Destination: "/data", ReadOnly: true, Options: []string{"private"}},
		"data:/srv:delegated":         {Type: "volume", Name: "data", Destination: "/srv"},
		"/etc/localtime:/etc/time:ro": {Type: "bind", Source: "/etc/localtime", Destination: "/etc/time", ReadOnly: true},
	} {
		if got, err := Volume(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                   "invalid volume specification: ''",
		":/x":                "invalid volume specification: ':/x'",
		"/x:ro":              "invalid volume specification: '/x:ro'",
		"a:b:c:d":            "invalid volume specification: 'a:b:c:d'",
		"data":               `invalid volume specification: 'data': invalid mount config for type "volume": invalid mount path: 'data' mount path must be absolute`,
		"/a:b":               `invalid volume specification: '/a:b': invalid mount config for type "bind": invalid mount path: 'b' mount path must be absolute`,
		"data:/":             `invalid specification: destination can't be '/'`,
		"data:":              "invalid volume specification: 'data:'",
		"data:/x:no":         "invalid mode: no",
		"data:/x:ro,rw":      "invalid mode: ro,rw",
		"data:/x:z,Z":        "invalid mode: z,Z",
		"data:/x:,":          "invalid mode: ,",
		"data:/x:rprivate":   "field BindOptions must not be specified",
		"/a:/x:nocopy":       "field VolumeOptions must not be specified",
		"/a:/x:rshared":      "propagation rshared can't be had",
		"a:/x":               "volume name is too short",
		"a/b:/x":             `create a/b: "a/b" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
		"~/x:/x":             "includes invalid characters",
		"/a:/x:O":            "not supported yet",
		"/a:/x\x00y":         "must be absolute",
		"data:relative/path": "must be absolute",
	} {
		if m, err := Volume(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want %s", text, m, err, want)
		}
	}
}

func TestMount(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for text, want := range map[string]container.Mount{
		"target=/x":                                     {Type: "volume", Anonymous: true, Destination: "/x"},
		"type=volume,src=data,dst=/x":                   {Type: "volume", Name: "data", Destination: "/x"},
		"source=data,destination=/x,readonly":           {Type: "volume", Name: "data", Destination: "/x", ReadOnly: true},
		"src=data,dst=/x,ro=false,volume-nocopy":        {Type: "volume", Name: "data", Destination: "/x", NoCopy: true},
		"src=data,dst=/x,volume-driver=local,ro=1":      {Type: "volume", Name: "data", Destination: "/x", ReadOnly: true},
		"type=bind,src=" + dir + ",dst=/x/":             {Type: "bind", Source: dir, Destination: "/x"},
		"type=BIND,src=.,dst=/x":                        {Type: "bind", Source: dir, Destination: "/x"},
		"type=bind,src=/,dst=/x,bind-nonrecursive":      {Type: "bind", Source: "/", Destination: "/x", Options: []string{"bind"}},
		"type=bind,src=/,dst=/x,bind-recursive=enabled": {Type: "bind", Source: "/", Destination: "/x"},
		"type=bind,src=/,dst=/x,bind-propagation=private,consistency=cached": {
			Type: "bind", Source: "/", Destination: "/x", Options: []string{"private"},
		},
		"type=tmpfs,dst=/x": {Type: "tmpfs", Destination: "/x"},
		"type=tmpfs,dst=/x,tmpfs-size=2k,tmpfs-mode=700": {Type: "tmpfs", Destination: "/x", Options: []string{"size=2048", "mode=700"}},
		`type=tmpfs,"dst=/a,b"`:                          {Type: "tmpfs", Destination: "/a,b"},
	} {
		if got, err := Mount(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"type=bind,src=/no/such,dst=/x": `invalid mount config for type "bind": bind source path does not exist: /no/such`,
		"type=bind,dst=/x":              `field Source must not be empty`,
		"type=bind,src=x,dst=/x":        `invalid mount path: 'x' mount path must be absolute`,
		"src=data":                      `invalid argument "src=data" for "--mount" flag: target is required`,
		"type=,dst=/x":                  "type is required",
		"type=nfs,dst=/x":               `invalid mount config for type "nfs": mount type unknown`,
		"dst=/x,what=1":                 "unexpected key 'what' in 'what=1'",
		"dst=/x,what":                   "invalid field 'what' must be a key=value pair",
		"dst=/x,readonly=maybe":         "invalid value for readonly: maybe",
		"type=tmpfs,dst=/x,bind-propagation=private":     "cannot mix 'bind-*' options with mount type 'tmpfs'",
		"type=bind,src=/,dst=/x,volume-nocopy":           "cannot mix 'volume-*' options with mount type 'bind'",
		"dst=/x,tmpfs-size=1m":                           "cannot mix 'tmpfs-*' options with mount type 'volume'",
		"type=tmpfs,src=/y,dst=/x":                       "field Source must not be specified",
		"type=tmpfs,dst=/x,tmpfs-size=much":              "invalid value for tmpfs-size: much",
		"type=tmpfs,dst=/x,tmpfs-mode=999":               "invalid value for tmpfs-mode: 999",
		"dst=/x,ro":                                      "must not set ReadOnly mode when using anonymous volumes",
		"src=data,dst=/x,volume-opt=type=nfs":            "volume-opt can't be had",
		"src=data,dst=/x,volume-driver=nfs":              `plugin "nfs" not found`,
		"src=data,dst=x":                                 "mount path must be absolute",
		"src=/a,dst=/x":                                  "use absolute path",
		"type=image,src=nginx,dst=/x":                    "not supported yet",
		"type=bind,src=/,dst=/x,bind-propagation=rslave": "propagation rslave can't be had",
		"type=bind,src=/,dst=/x,bind-propagation=odd":    "invalid propagation mode: odd",
		"type=bind,src=/,dst=/x,bind-recursive=odd":      "invalid value for bind-recursive: odd",
		`"`: "invalid argument",
		"":  "invalid argument",
	} {
		if m, err := Mount(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want %s", text, m, err, want)
		}
	}
}

func TestTmpfs(t *testing.T) {
	for text, want := range map[string]container.Mount{
		"/run":                          {Type: "tmpfs", Destination: "/run"},
		"/run/:size=64m,mode=1777":      {Type: "tmpfs", Destination: "/run", Options: []string{"size=64m", "mode=1777"}},
		"/run:ro,exec,uid=5,size=50%":   {Type: "tmpfs", Destination: "/run", ReadOnly: true, Options: []string{"exec", "uid=5", "size=50%"}},
		"/run:":                         {Type: "tmpfs", Destination: "/run"},
		"/run:rw,noexec,nosuid,size=1g": {Type: "tmpfs", Destination: "/run", Options: []string{"noexec", "nosuid", "size=1g"}},
	} {
		if got, err := Tmpfs(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"run": "must be absolute", "/": "destination can't be '/'", "": "Target must not be empty",
		"/x:what": `Invalid tmpfs option "what"`, "/x:size=much": "size=much", "/x:size": "size", "/x:exec=1": "exec=1", "/x:mode=9": "mode=9",
	} {
		if m, err := Tmpfs(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want %s", text, m, err, want)
		}
	}
}

func TestInherited(t *testing.T) {
	for text, want := range map[string]struct {
		ref      string
		readOnly bool
	}{"box": {"box", false}, "box:": {"box", false}, "box:ro": {"box", true}, "box:rw": {"box", false}} {
		if ref, readOnly, err := Inherited(text); err != nil || ref != want.ref || readOnly != want.readOnly {
			t.Errorf("%s: %s, %t, %v", text, ref, readOnly, err)
		}
	}
	for _, text := range []string{"box:no", "box:ro,rw", "box:nocopy", "box:U", "box:private"} {
		if _, _, err := Inherited(text); err == nil || !strings.Contains(err.Error(), "invalid mode: ") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
