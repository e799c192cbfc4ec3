package sandbox

import (
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
)

func TestIDsThatAreNotMappedAreRefused(t *testing.T) {
	some := idRanges{{0, 1}, {10, 20}}
	for _, tc := range []struct {
		name string
		host host
		spec Spec
		want string
	}{
		{"mapped", host{uids: some, gids: some}, Spec{UID: 19, GID: 10}, ""},
		{"user", host{uids: some, gids: some}, Spec{UID: 33, GID: 10}, "user 33 isn't among the ids mapped here, of which the highest is 19"},
		{"just above", host{uids: some, gids: some}, Spec{UID: 20}, "user 20"},
		{"between", host{uids: some, gids: some}, Spec{UID: 1}, "user 1 "},
		{"group", host{uids: some, gids: some}, Spec{GID: 33}, "group 33"},
		{"additional group", host{uids: some, gids: some, groups: true}, Spec{Groups: []uint32{0, 33}}, "group 33"},
		{"additional group that is dropped", host{uids: some, gids: some}, Spec{Groups: []uint32{33}}, ""},
	} {
		err := tc.host.checkIDs(tc.spec)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if err != nil && !strings.Contains(fault.Remedy(err), "up to 19") {
			t.Errorf("%s: remedy %q", tc.name, fault.Remedy(err))
		}
	}
}

func TestRunRefusesIDsThatAreNotMapped(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "true")
		s.UID = 1 << 20
		if _, err := o.Run(t.Context(), s); err == nil || !strings.Contains(err.Error(), "user 1048576 isn't") || fault.Code(err) != fault.CodeOwn {
			t.Error(err)
		}
	})
}
