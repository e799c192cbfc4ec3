package doctor

import "github.com/builder-oci/builder/internal/fault"

// NoAuthorities tells that this machine has no list of the certificate authorities by
// which public servers prove themselves; otherwise is the remedy where it isn't for
// want of those. The result is a *fault.Error.
func NoAuthorities(otherwise string) error {
	remedy := Install("ca-certificates")
	if otherwise != "" {
		remedy += "\nor " + otherwise
	}
	return fault.Machine(remedy, "no certificate authorities are installed on this machine")
}
