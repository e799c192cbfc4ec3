package build

import (
	"testing"

	"github.com/builder-oci/builder/internal/fault"
)

func TestParseEntitlements(t *testing.T) {
	got, err := ParseEntitlements([]string{"security.insecure", "network.host"})
	if want := (Entitlements{Insecure: true, NetworkHost: true}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := ParseEntitlements(nil); err != nil || got != (Entitlements{}) {
		t.Errorf("nothing allows %+v, %v", got, err)
	}
	for _, name := range []string{"", "all", "security", "security.insecure=1", "device", "device=vendor.com/class=x"} {
		if got, err := ParseEntitlements([]string{name}); fault.Remedy(err) == "" {
			t.Errorf("%q: %+v, %v; want an error with a remedy", name, got, err)
		}
	}
}
