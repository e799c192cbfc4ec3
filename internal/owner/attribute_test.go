package owner

import "testing"

func TestOwnersAreReadFromAttributes(t *testing.T) {
	for value, want := range map[string][2]uint32{
		"0:0": {0, 0}, "33:50": {33, 50}, "1000:2147483647:0100644": {1000, 2147483647}, "4294967294:3000000000": {4294967294, 3000000000}, string(Value(7, 8)): {7, 8},
	} {
		if uid, gid, ok := Parse(value); !ok || uid != want[0] || gid != want[1] {
			t.Errorf("%q: %d:%d, %t", value, uid, gid, ok)
		}
	}
	for _, value := range []string{"", "1", "1:", ":1", "-1:2", "1:2x", "1:4294967296", " 1:2"} {
		if uid, gid, ok := Parse(value); ok {
			t.Errorf("%q is taken for %d:%d", value, uid, gid)
		}
	}
}
