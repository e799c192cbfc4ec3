package container

// Types of a Mount.
const (
	MountBind   = "bind"
	MountVolume = "volume"
	MountTmpfs  = "tmpfs"
)

// Mount is a directory, or file, that a container sees and that isn't its image's.
type Mount struct {
	Type        string   `json:"type"`             // MountBind, MountVolume or MountTmpfs
	Name        string   `json:"name,omitempty"`   // of a volume; one without gets its name when the container is made
	Source      string   `json:"source,omitempty"` // the host's path, or the volume's data; absolute
	Destination string   `json:"destination"`      // absolute and clean; links on the way are followed inside the root
	ReadOnly    bool     `json:"read_only,omitempty"`
	Options     []string `json:"options,omitempty"`   // the runtime's, beside ro, rw and bind: propagation, size=, mode=
	NoCopy      bool     `json:"no_copy,omitempty"`   // what the image has there isn't copied into the volume, or has been
	Chown       bool     `json:"chown,omitempty"`     // it is to belong to the container's user
	Anonymous   bool     `json:"anonymous,omitempty"` // the volume goes with the container that is removed for good
}
