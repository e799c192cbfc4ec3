package sandbox

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/profiles/seccomp"
	rspec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// Security changes what confines a program. Its zero value is docker's
// confinement.
type Security struct {
	// Seccomp is the text of a profile, in docker's format, that takes the place
	// of docker's own.
	Seccomp string `json:"seccomp,omitempty"`
	// NoSeccomp does without any profile.
	NoSeccomp bool `json:"no_seccomp,omitempty"`
	// AppArmor is the name of a profile; without it the program has ours.
	AppArmor string `json:"apparmor,omitempty"`
	// NoNewPrivileges makes set-user-ID bits and file capabilities void.
	NoNewPrivileges bool `json:"no_new_privileges,omitempty"`
	// Mask are paths to hide beside docker's. Unmask are patterns of those of
	// docker's that are neither hidden nor read-only, "ALL" for each.
	Mask   []string `json:"mask,omitempty"`
	Unmask []string `json:"unmask,omitempty"`
}

// ParseSecurity reads values of docker's and podman's --security-opt. A
// profile's file is read at once.
func ParseSecurity(options []string) (Security, error) {
	var s Security
	for _, option := range options {
		// docker's older form has a colon.
		name, value, _ := strings.Cut(option, "=")
		if i := strings.IndexAny(option, "=:"); i >= 0 {
			name, value = option[:i], option[i+1:]
		}
		if err := s.set(name, value); err != nil {
			return s, &fault.Error{Err: fmt.Errorf("--security-opt %s: %w", option, err), Remedy: fault.Remedy(err)}
		}
	}
	return s, nil
}

// securityOptions are those that set knows, for a user who meant another.
const securityOptions = "it can be seccomp=FILE, seccomp=unconfined, apparmor=PROFILE, label=disable, " +
	"no-new-privileges, mask=PATH[:PATH...], unmask=PATH[:PATH...] or systempaths=unconfined"

func (s *Security) set(name, value string) (err error) {
	switch name {
	case "seccomp":
		return s.setSeccomp(value)
	case "apparmor":
		return s.setAppArmor(value)
	case "label":
		return checkLabel(value)
	case "no-new-privileges":
		s.NoNewPrivileges = true
		if value != "" {
			s.NoNewPrivileges, err = strconv.ParseBool(value)
		}
		return err
	case "mask":
		return addPaths(&s.Mask, value)
	case "unmask":
		if strings.EqualFold(value, everyPath) {
			value = everyPath
		}
		return addPaths(&s.Unmask, value)
	case "systempaths":
		if value == "unconfined" {
			s.Unmask = append(s.Unmask, everyPath)
			return nil
		}
	}
	return fault.New(securityOptions, "it isn't known")
}

func (s *Security) setSeccomp(value string) error {
	switch value {
	case "":
		return fault.New("write seccomp=FILE or seccomp=unconfined", "it names no profile")
	case "unconfined":
		s.NoSeccomp, s.Seccomp = true, ""
		return nil
	case "builtin", "default":
		s.NoSeccomp, s.Seccomp = false, ""
		return nil
	}
	text, err := os.ReadFile(value)
	if err != nil {
		return err
	}
	s.NoSeccomp, s.Seccomp = false, string(text)
	if _, err := s.profile(&rspec.Spec{Process: &rspec.Process{Capabilities: &rspec.LinuxCapabilities{}}}); err != nil {
		return fault.New("a profile is docker's default one with changes: https://docs.docker.com/engine/security/seccomp", "it is no seccomp profile: %w", err)
	}
	return nil
}

// profile is the given profile for a program that has the capabilities of spec.
func (s Security) profile(spec *rspec.Spec) (*rspec.LinuxSeccomp, error) {
	return seccomp.LoadProfile(s.Seccomp, spec)
}

// setAppArmor takes a profile by its name. The program has ours without one,
// and that is "unconfined" unless the user has chosen another.
func (s *Security) setAppArmor(value string) error {
	enabled, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	switch {
	case value == "":
		return fault.New("write apparmor=PROFILE or apparmor=unconfined", "it names no profile")
	case value == "unconfined":
		s.AppArmor = ""
		return nil
	case !strings.HasPrefix(string(enabled), "Y"):
		return fault.New("leave it out, or boot with apparmor=1 security=apparmor", "this kernel doesn't use AppArmor")
	}
	s.AppArmor = value
	return nil
}

// checkLabel takes what asks for no SELinux label of its own, which is what a
// program has here.
func checkLabel(value string) error {
	if value == "disable" {
		return nil
	}
	return fault.New("use label=disable", "builder sets no SELinux labels: every program keeps that of builder itself")
}

// everyPath is all of docker's hidden and read-only paths.
const everyPath = "ALL"

func addPaths(to *[]string, value string) error {
	for p := range strings.SplitSeq(value, ":") {
		if _, err := path.Match(p, "/"); p != everyPath && !path.IsAbs(p) || err != nil {
			return fault.New("write absolute paths, parted by colons", "%q is no path", p)
		}
		*to = append(*to, p)
	}
	return nil
}

// HiddenPaths gives those that the program doesn't see, and those that it can't
// write to.
func (s Spec) HiddenPaths() (masked, readOnly []string) {
	seen := func(p string) bool {
		return s.Insecure || slices.ContainsFunc(s.Security.Unmask, func(pattern string) bool {
			match, _ := path.Match(pattern, p)
			return match || pattern == everyPath
		})
	}
	masked = slices.DeleteFunc(slices.Clone(maskedPaths), seen)
	readOnly = slices.DeleteFunc(slices.Clone(readonlyPaths), seen)
	return append(masked, s.Security.Mask...), readOnly
}

// capAdd is what the program has beside docker's capabilities.
func (s Spec) capAdd() []string {
	if s.Insecure {
		return append([]string{everyCap}, s.CapAdd...)
	}
	return s.CapAdd
}

// insecureDevices are what BuildKit gives to RUN --security=insecure, less what
// no user namespace may use.
var insecureDevices = []string{"/dev/cuse", "/dev/fuse", "/dev/kmsg", "/dev/kvm", "/dev/loop-control", "/dev/net/tun"}

// devices are those of the host that an insecure program gets: the ones that
// the user may open.
func (s Spec) devices() (devices []string) {
	if !s.Insecure {
		return nil
	}
	for _, device := range insecureDevices {
		if MayOpen(device) {
			devices = append(devices, device)
		}
	}
	return devices
}

// MayOpen tells whether this process may read or write a device. Root of a user
// namespace may do so only as far as its user and group outside may.
func MayOpen(device string) bool {
	for _, mode := range []uint32{unix.R_OK, unix.W_OK} {
		if unix.Faccessat(unix.AT_FDCWD, filepath.Clean(device), mode, unix.AT_EACCESS) == nil {
			return true
		}
	}
	return false
}
