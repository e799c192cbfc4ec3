package mountspec

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	units "github.com/docker/go-units"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/storage/volume"
)

// NonRecursive is the option of a mount that leaves out what is mounted below the source.
const NonRecursive = "bind"

// option is what --mount says, as it is read.
type option struct {
	container.Mount
	source string
	target string
	of     string // the kind of the last option that is for one type only
}

// Mount reads --mount: KEY=VALUE,... with commas as in a line of CSV.
func Mount(text string) (container.Mount, error) {
	o := option{Mount: container.Mount{Type: container.MountVolume}}
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	for i := 0; err == nil && i < len(fields); i++ {
		err = o.set(fields[i])
	}
	if err == nil {
		err = o.complete()
	}
	if err != nil && fault.Remedy(err) == "" {
		return o.Mount, fault.New("write --mount type=bind,src=/DIR,dst=/PATH, or type=volume,src=NAME,dst=/PATH, or type=tmpfs,dst=/PATH",
			`invalid argument %q for "--mount" flag: %w`, text, err)
	}
	return o.Mount, err
}

// switches are the keys that may stand without a value.
var switches = map[string]func(o *option, on bool) error{
	"readonly":      func(o *option, on bool) error { o.ReadOnly = on; return nil },
	"volume-nocopy": func(o *option, on bool) error { o.NoCopy = on; return nil },
	"bind-nonrecursive": func(o *option, on bool) error {
		if on {
			o.Options = append(o.Options, NonRecursive)
		}
		return nil
	},
}

// secondNames are second names of keys.
var secondNames = map[string]string{"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}

// set takes one field.
func (o *option) set(field string) error {
	key, value, valued := strings.Cut(field, "=")
	name := key
	if other := secondNames[key]; other != "" {
		name = other
	}
	for _, kind := range []string{container.MountBind, container.MountVolume, container.MountTmpfs} {
		if strings.HasPrefix(name, kind+"-") {
			o.of = kind
		}
	}
	if flip := switches[name]; flip != nil {
		on := true
		if valued {
			var err error
			if on, err = strconv.ParseBool(value); err != nil {
				return fmt.Errorf("invalid value for %s: %s", key, value)
			}
		}
		return flip(o, on)
	}
	if !valued {
		return fmt.Errorf("invalid field '%s' must be a key=value pair", field)
	}
	return o.setValue(name, value, field)
}

func (o *option) setValue(key, value, field string) error {
	switch key {
	case "type":
		o.Type = strings.ToLower(value)
	case "source":
		o.source = value
	case "target":
		o.target = value
	case "consistency": // makes no difference on one machine
	case "bind-propagation":
		return setPropagation(&o.Mount, strings.ToLower(value))
	case "bind-recursive":
		return o.setRecursive(value)
	case "tmpfs-size", "tmpfs-mode":
		return o.setTmpfs(key, value)
	case "volume-driver":
		if value != volume.Driver {
			return NoDriver(value)
		}
	case "volume-opt":
		return NoDriverOptions("volume-opt")
	case "volume-label", "volume-subpath":
		return fault.New("make the volume before: builder volume create", "--mount with %s is not supported yet", key)
	default:
		return fmt.Errorf("unexpected key '%s' in '%s'", key, field)
	}
	return nil
}

func (o *option) setRecursive(value string) error {
	switch value {
	case "enabled", "readonly":
	case "disabled":
		o.Options = append(o.Options, NonRecursive)
	case "writable":
		return fault.NotYet("--mount with bind-recursive=writable")
	default:
		return fmt.Errorf("invalid value for bind-recursive: %s (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")", value)
	}
	return nil
}

func (o *option) setTmpfs(key, value string) error {
	if key == "tmpfs-mode" {
		mode, err := strconv.ParseUint(value, 8, 12)
		if err != nil {
			return fmt.Errorf("invalid value for %s: %s", key, value)
		}
		o.Options = append(o.Options, fmt.Sprintf("mode=%o", mode))
		return nil
	}
	size, err := units.RAMInBytes(value)
	if err != nil || size < 0 {
		return fmt.Errorf("invalid value for %s: %s", key, value)
	}
	o.Options = append(o.Options, fmt.Sprintf("size=%d", size))
	return nil
}

// complete checks the whole, first as docker's command does, then as its daemon.
func (o *option) complete() error {
	switch {
	case o.Type == "":
		return fmt.Errorf("type is required")
	case o.target == "":
		return fmt.Errorf("target is required")
	case o.of != "" && o.of != o.Type:
		return fmt.Errorf("cannot mix '%s-*' options with mount type '%s'", o.of, o.Type)
	case o.Type == "image" || o.Type == "npipe" || o.Type == "cluster":
		return fault.NotYet("--mount with type=" + o.Type)
	}
	var err error
	switch o.Type {
	case container.MountBind:
		err = o.completeBind()
	case container.MountVolume:
		if o.Name, o.Anonymous = o.source, o.source == ""; o.Name != "" {
			err = volume.CheckName(o.Name)
		} else if o.ReadOnly {
			err = badMount(&o.Mount, "must not set ReadOnly mode when using anonymous volumes")
		}
	case container.MountTmpfs:
		if o.source != "" {
			err = badMount(&o.Mount, "field Source must not be specified")
		}
	default:
		err = badMount(&o.Mount, "mount type unknown")
	}
	if err != nil {
		return err
	}
	return setPlace(&o.Mount, o.target)
}

func (o *option) completeBind() error {
	if o.source == "" {
		return badMount(&o.Mount, "field Source must not be empty")
	}
	if o.source == "." || strings.HasPrefix(o.source, "./") || strings.HasPrefix(o.source, "../") || o.source == ".." {
		abs, err := filepath.Abs(o.source)
		if err != nil {
			return err
		}
		o.source = abs
	}
	if !filepath.IsAbs(o.source) {
		return badMount(&o.Mount, "invalid mount path: '%s' mount path must be absolute", o.source)
	}
	o.Source = filepath.Clean(o.source)
	if _, err := os.Stat(o.Source); err != nil {
		return missingSource(&o.Mount, err)
	}
	return nil
}

// missingSource is the error of --mount about a directory that isn't there, or that
// can't be looked at.
func missingSource(m *container.Mount, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New("mkdir -p "+m.Source+"    # or use -v, which makes it",
			"%w", badMount(m, "bind source path does not exist: %s", m.Source))
	}
	return badMount(m, "%w", err)
}
