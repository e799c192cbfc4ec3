package doctor

import "github.com/builder-oci/builder/internal/fault"

// Runtime explains err: an OCI runtime is installed, and starts no container. A
// remedy that is known already stays. The result is a *fault.Error.
func Runtime(name string, err error) error {
	remedy := fault.Remedy(err)
	if remedy == "" {
		other := map[string]string{"crun": "runc", "runc": "crun"}[name]
		remedy = "builder --runtime " + other + " …    # takes the other one; " + Install(other)
	}
	return fault.Machine(remedy, "%s starts no container: %w", name, err)
}
