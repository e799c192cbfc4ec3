// Package mountspec reads what users write about a container's mounts, after -v,
// --mount, --tmpfs and --volumes-from, in docker's grammar and with its errors. Nothing
// is made or mounted.
package mountspec

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/storage/volume"
)

// Volume reads -v: PATH, or VOLUME:PATH[:OPTIONS], or DIR:PATH[:OPTIONS].
func Volume(text string) (m container.Mount, err error) {
	const remedy = "write -v VOLUME:/PATH, -v /DIR:/PATH or -v /PATH; behind the first two options may follow: :ro"
	parts := strings.Split(text, ":")
	if len(parts) > 3 || parts[0] == "" || len(parts) == 2 && isMode(parts[1]) {
		return m, fault.New(remedy, "invalid volume specification: '%s'", text)
	}
	place := parts[0]
	m = container.Mount{Type: container.MountVolume, Anonymous: true}
	if len(parts) > 1 {
		if m, err = sourceOf(parts[0]); err != nil {
			return m, err
		}
		place = parts[1]
	}
	if len(parts) > 2 {
		if err := setMode(&m, parts[2]); err != nil {
			return m, err
		}
	}
	if err := checkKind(m); err != nil {
		return m, fault.New(remedy, "invalid volume specification: '%s': %w", text, err)
	}
	if err := setPlace(&m, place); err != nil {
		return m, fault.New(remedy, "invalid volume specification: '%s': %w", text, err)
	}
	return m, nil
}

// sourceOf tells a volume's name from a path of the host's, which may be relative
// where it begins with a dot.
func sourceOf(text string) (container.Mount, error) {
	if !filepath.IsAbs(text) && !strings.HasPrefix(text, ".") {
		return container.Mount{Type: container.MountVolume, Name: text}, volume.CheckName(text)
	}
	abs, err := filepath.Abs(text)
	return container.Mount{Type: container.MountBind, Source: abs}, err
}

// setPlace gives the mount its place inside.
func setPlace(m *container.Mount, place string) error {
	switch {
	case place == "":
		return badMount(m, "field Target must not be empty")
	case path.Clean(place) == "/":
		return badMount(m, "invalid specification: destination can't be '/'")
	case !path.IsAbs(place) || strings.ContainsRune(place, 0):
		return badMount(m, "invalid mount path: '%s' mount path must be absolute", place)
	}
	m.Destination = path.Clean(place)
	return nil
}

// badMount is docker's error of a mount that can't be as it is asked for.
func badMount(m *container.Mount, format string, args ...any) error {
	return fmt.Errorf("invalid mount config for type %q: %w", m.Type, fmt.Errorf(format, args...))
}

// checkKind refuses options of binds for volumes, and the other way round.
func checkKind(m container.Mount) error {
	switch {
	case m.Type == container.MountBind && m.NoCopy:
		return badMount(&m, "field VolumeOptions must not be specified: only a volume is filled")
	case m.Type == container.MountVolume && len(m.Options) > 0:
		return badMount(&m, "field BindOptions must not be specified: %s is for directories of the host", m.Options[0])
	}
	return nil
}

// modes are the words of -v's options; of those of one kind only one may stand.
var modes = map[string]string{
	"rw": "access", "ro": "access",
	"z": "label", "Z": "label",
	"private": "propagation", "rprivate": "propagation",
	"shared": "propagation", "rshared": "propagation", "slave": "propagation", "rslave": "propagation",
	"nocopy":     "copying",
	"consistent": "consistency", "cached": "consistency", "delegated": "consistency",
	"U": "owner", "O": "overlay",
}

// isMode tells whether a text is options of -v, as far as docker knows them.
func isMode(text string) bool { return setMode(&container.Mount{}, text) == nil }

// setMode reads the options of -v.
func setMode(m *container.Mount, text string) error {
	if text == "" {
		return nil
	}
	seen := map[string]bool{}
	for word := range strings.SplitSeq(text, ",") {
		kind := modes[word]
		if kind == "" || seen[kind] {
			return fault.New("options are ro, rw, nocopy, U, z, Z, private and rprivate; of those of one kind only one may stand", "invalid mode: %s", text)
		}
		seen[kind] = true
		if err := setModeWord(m, kind, word); err != nil {
			return err
		}
	}
	return nil
}

func setModeWord(m *container.Mount, kind, word string) error {
	switch kind {
	case "access":
		m.ReadOnly = word == "ro"
	case "label":
		if Labelled() {
			return fault.NotYet("--volume with the option " + word)
		}
	case "propagation":
		return setPropagation(m, word)
	case "copying":
		m.NoCopy = true
	case "owner":
		m.Chown = true
	case "overlay":
		return fault.NotYet("--volume with the option O")
	}
	return nil // who keeps what how consistent makes no difference on one machine
}

// Labelled says whether the host has SELinux: elsewhere there is nothing that z
// and Z could change.
func Labelled() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}

// Inherited reads --volumes-from: CONTAINER[:ro].
func Inherited(text string) (ref string, readOnly bool, err error) {
	ref, mode, _ := strings.Cut(text, ":")
	var given container.Mount
	if err := setMode(&given, mode); err != nil || len(given.Options) > 0 || given.NoCopy || given.Chown {
		return "", false, fault.New("write --volumes-from "+ref+" or "+ref+":ro", "invalid mode: %s", mode)
	}
	return ref, given.ReadOnly, nil
}

// setPropagation takes what can be had: mounts are made in a namespace of the
// container's own, into and out of which none spreads.
func setPropagation(m *container.Mount, word string) error {
	switch word {
	case "private", "rprivate":
		m.Options = append(m.Options, word)
		return nil
	case "shared", "rshared", "slave", "rslave":
		return fault.New("leave it out: what is mounted before the container starts is seen",
			"the propagation %s can't be had: a container's mounts are in a user namespace of its own, which later mounts of this machine don't reach", word)
	}
	return badMount(m, "invalid propagation mode: %s", word)
}

// tmpfsFlags are mount flags that docker takes for --tmpfs, and tmpfsValues what
// has a value there.
var (
	tmpfsFlags = strings.Split("ro,rw,exec,noexec,suid,nosuid,dev,nodev,sync,async,dirsync,atime,noatime,"+
		"diratime,nodiratime,relatime,norelatime,strictatime,nostrictatime", ",")
	tmpfsValues = map[string]*regexp.Regexp{
		"size": regexp.MustCompile(`^[0-9]+[kKmMgG%]?$`), "mode": regexp.MustCompile(`^[0-7]{1,4}$`),
		"uid": regexp.MustCompile(`^[0-9]+$`), "gid": regexp.MustCompile(`^[0-9]+$`),
		"nr_inodes": regexp.MustCompile(`^[0-9]+[kKmMgG]?$`), "nr_blocks": regexp.MustCompile(`^[0-9]+[kKmMgG]?$`),
	}
)

// Tmpfs reads --tmpfs: PATH[:OPTION,...].
func Tmpfs(text string) (container.Mount, error) {
	m := container.Mount{Type: container.MountTmpfs}
	place, options, _ := strings.Cut(text, ":")
	for word := range strings.SplitSeq(options, ",") {
		name, value, valued := strings.Cut(word, "=")
		form := tmpfsValues[name]
		switch {
		case word == "":
			continue
		case !valued && slices.Contains(tmpfsFlags, word), valued && form != nil && form.MatchString(value):
		default:
			return m, fault.New("options are such as size=64m, mode=1777, uid=1000, ro and exec", "Invalid tmpfs option %q", word)
		}
		if word == "ro" || word == "rw" {
			m.ReadOnly = word == "ro"
		} else {
			m.Options = append(m.Options, word)
		}
	}
	return m, setPlace(&m, place)
}
