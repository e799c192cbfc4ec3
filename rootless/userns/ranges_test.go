package userns

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
)

func TestOverlapOfRangesIsTold(t *testing.T) {
	me := account{"jane", 1000}
	for _, tc := range []struct{ name, lines, cause, remedy string }{
		{"apart", "jane:100000:65536\njohn:165536:65536\n", "", ""},
		{"with another user", "jane:100000:65536\njohn:150000:65536\n", "gives ids 100000-165535 to jane and 150000-215535 to john", "usermod --del-subuids 100000-165535 jane"},
		{"of others", "jane:100000:65536\njohn:300000:65536\njoe:300000:65536\n", "", ""},
		{"by name and by number", "jane:100000:65536\n1000:100000:65536\n", "has 100000-165535 of jane twice", "sudoedit"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "subuid")
			if err := os.WriteFile(path, []byte(tc.lines), 0o600); err != nil {
				t.Fatal(err)
			}
			entries, err := readEntries(path)
			if err != nil {
				t.Fatal(err)
			}
			err = checkOverlap(path, entries, me)
			if tc.cause == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.cause) || !strings.Contains(fault.Remedy(err), tc.remedy) {
				t.Errorf("%v; remedy %q", err, fault.Remedy(err))
			}
		})
	}
}

func TestTooFewIDsAreToldAsAMappingTellsIt(t *testing.T) {
	me := account{"jane", 1000}
	for want, ids := range map[string]ranges{
		"jane has no subordinate ids in /etc/subuid and /etc/subgid":     {},
		"jane has only 999 subordinate ids; images may use up to 65535":  {[]idRange{{100000, 999}}, []idRange{{100000, 65536}}},
		"jane has only 1000 subordinate ids; images may use up to 65535": {[]idRange{{100000, 65536}}, []idRange{{100000, 1000}}},
	} {
		if err := checkRanges(me, ids); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := checkRanges(me, ranges{[]idRange{{100000, 65536}}, []idRange{{100000, 65536}}}); err != nil {
		t.Error(err)
	}
}

func TestTheLongestRangeThatANamespaceHas(t *testing.T) {
	for _, tc := range []struct {
		maps []IDMap
		own  int
		want idRange
	}{
		{[]IDMap{{0, 0, 65536}}, 1001, idRange{1002, 64534}},
		{[]IDMap{{0, 0, 1}, {1, 100000, 65536}}, 0, idRange{1, 65536}},
		{[]IDMap{{0, 0, 1}, {1000, 1000, 1}}, 1000, idRange{}},
	} {
		if got := longest(tc.maps, tc.own); got != tc.want {
			t.Errorf("%v without %d: %v, want %v", tc.maps, tc.own, got, tc.want)
		}
	}
}
