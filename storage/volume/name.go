package volume

import (
	"crypto/rand"
	"encoding/hex"
	"maps"
	"regexp"

	"github.com/builder-oci/builder/internal/fault"
)

// validName is docker's rule.
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// maxName is the longest name that a file can have.
const maxName = 255

// CheckName is an error, in docker's words, where no volume can have the name.
func CheckName(name string) error {
	switch {
	case len(name) == 1:
		return fault.New("", "create %s: volume name is too short, names should be at least two alphanumeric characters", name)
	case len(name) > maxName:
		return fault.New("", "create %.32s…: volume name is too long, names may have %d characters", name, maxName)
	case !validName.MatchString(name):
		return fault.New("", `create %s: %q includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. `+
			"If you intended to pass a host directory, use absolute path", name, name)
	}
	return nil
}

// NewName gives a name that no other volume has.
func NewName() string {
	var id [32]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// anonymous gives a volume without name one, and the label that says so.
func anonymous(v Volume) Volume {
	v.Name, v.Labels = NewName(), maps.Clone(v.Labels)
	if v.Labels == nil {
		v.Labels = map[string]string{}
	}
	v.Labels[AnonymousLabel] = ""
	return v
}
