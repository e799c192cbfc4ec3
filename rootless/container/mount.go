package container

// Mount is one more file system that a container sees.
type Mount struct {
	Type        string   `json:"type"`             // "bind", "volume" or "tmpfs"
	Name        string   `json:"name,omitempty"`   // of a volume
	Source      string   `json:"source,omitempty"` // absolute: of the host, or the volume's data
	Destination string   `json:"destination"`      // absolute and clean
	ReadOnly    bool     `json:"read_only,omitempty"`
	Options     []string `json:"options,omitempty"`   // as the runtime specification has them, beside ro, rw and bind
	NoCopy      bool     `json:"no_copy,omitempty"`   // an empty volume stays empty
	Chown       bool     `json:"chown,omitempty"`     // everything in it becomes the program's user's
	Anonymous   bool     `json:"anonymous,omitempty"` // the volume goes with the container
}
