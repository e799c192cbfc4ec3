package userns

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestRangesAreReadAsNewuidmapDoes(t *testing.T) {
	const file = `# comment
alice:100000:65536

bob:200000:65536
1000:300000:1000
 alice:400000:10
alice:nonsense:65536
alice:500000
alice:500000:1:2
alice:500000:0
alice:-5:10
alice:4294967290:100
alice:600000:5`
	path := filepath.Join(t.TempDir(), "subuid")
	if err := os.WriteFile(path, []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		me   account
		want []idRange
	}{
		{account{"alice", 1000}, []idRange{{100000, 65536}, {300000, 1000}, {400000, 10}, {600000, 5}}},
		{account{"", 1000}, []idRange{{300000, 1000}}},
		{account{"bob", 1001}, []idRange{{200000, 65536}}},
		{account{"carol", 1002}, nil},
	} {
		got, err := readRanges(path, tc.me.owns)
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v, %v; want %v", tc.me, got, err, tc.want)
		}
	}
}

func TestMissingFileHasNoRanges(t *testing.T) {
	got, err := readRanges(filepath.Join(t.TempDir(), "subuid"), account{"alice", 1000}.owns)
	if got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func TestSourceOfSubordinateIDs(t *testing.T) {
	for content, want := range map[string]string{
		"passwd: files\n":                "",
		"passwd: files\nsubid: sss\n":    "sss",
		"subid:files # the default\n":    "files",
		"# subid: sss\n":                 "",
		"subid:\n":                       "",
		"  subid :   sss files\npasswd:": "sss",
	} {
		path := filepath.Join(t.TempDir(), "nsswitch.conf")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := subidSource(path); got != want {
			t.Errorf("%q: %q, want %q", content, got, want)
		}
	}
	if got := subidSource(filepath.Join(t.TempDir(), "missing")); got != "" {
		t.Errorf("without a file: %q", got)
	}
}

func TestGetsubidsOutput(t *testing.T) {
	got := parseGetsubids("0: alice 100000 65536\n1: alice 300000 1000\nError fetching ranges\n")
	if want := []idRange{{100000, 65536}, {300000, 1000}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestRangesAreStackedOnTheCaller(t *testing.T) {
	for _, tc := range []struct {
		name   string
		ranges []idRange
		want   []IDMap
	}{
		{"one", []idRange{{100000, 65536}}, []IDMap{{0, 1000, 1}, {1, 100000, 65536}}},
		{"two", []idRange{{100000, 10}, {300000, 20}}, []IDMap{{0, 1000, 1}, {1, 100000, 10}, {11, 300000, 20}}},
		{"the same twice", []idRange{{100000, 10}, {100000, 10}}, []IDMap{{0, 1000, 1}, {1, 100000, 10}}},
		{"overlapping", []idRange{{100000, 10}, {99995, 20}}, []IDMap{{0, 1000, 1}, {1, 100000, 10}, {11, 99995, 5}, {16, 100010, 5}}},
		{"with the caller's own id", []idRange{{999, 3}}, []IDMap{{0, 1000, 1}, {1, 999, 1}, {2, 1001, 1}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := stack(1000, tc.ranges); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}

func TestKeptIDMovesTheOthersDown(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   []IDMap
		want []IDMap
	}{
		{"in the middle", []IDMap{{0, 1000, 1}, {1, 100000, 65536}}, []IDMap{{0, 100000, 1000}, {1000, 1000, 1}, {1001, 101000, 64536}}},
		{"root", []IDMap{{0, 0, 1}, {1, 100000, 65536}}, []IDMap{{0, 0, 1}, {1, 100000, 65536}}},
		{"between two", []IDMap{{0, 10, 1}, {1, 100, 10}, {11, 300, 20}}, []IDMap{{0, 100, 10}, {10, 10, 1}, {11, 300, 20}}},
		{"in the second", []IDMap{{0, 12, 1}, {1, 100, 10}, {11, 300, 20}}, []IDMap{{0, 100, 10}, {10, 300, 2}, {12, 12, 1}, {13, 302, 18}}},
		{"beyond all", []IDMap{{0, 70000, 1}, {1, 100000, 65536}}, []IDMap{{0, 100000, 65536}, {70000, 70000, 1}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := keep(tc.in)
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%v, want %v", got, tc.want)
			}
			if own := tc.in[0].HostID; hostID(got, own) != own {
				t.Errorf("%d isn't itself inside", own)
			}
		})
	}
	if _, err := singleMapping(1000, 1000, nil).keepID(); err == nil {
		t.Error("a single id is enough")
	}
}

func TestStackKeepsToTheKernelsLimit(t *testing.T) {
	var many []idRange
	for i := range uint64(1000) {
		many = append(many, idRange{100000 + 10*i, 1})
	}
	if got := len(stack(1000, many)); got != maxExtents {
		t.Errorf("%d lines, want %d", got, maxExtents)
	}
}

func TestEnclosingNamespacesRangesStayApart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "uid_map")
	if err := os.WriteFile(path, []byte("         0       1000          1\n         1     100000      65536\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := identity(path)
	if want := []IDMap{{0, 0, 1}, {1, 1, 65536}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

func TestToolArguments(t *testing.T) {
	got := strings.Join(toolArgs(42, []IDMap{{0, 1000, 1}, {1, 100000, 65536}}), " ")
	if want := "42 0 1000 1 1 100000 65536"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestKeyNamesTheMapping(t *testing.T) {
	base := Mapping{UIDs: []IDMap{{0, 1000, 1}, {1, 100000, 65536}}, GIDs: []IDMap{{0, 1000, 1}}, Kind: KindRange}
	if got, want := base.Key(), "89eb337266b2"; got != want {
		t.Errorf("key %q, want %q: directories on disk bear it", got, want)
	}
	other := base
	other.UIDs = []IDMap{{0, 1000, 1}, {1, 200000, 65536}}
	single := base
	single.Kind = KindSingle
	if base.Key() == other.Key() || base.Key() == single.Key() {
		t.Error("different mappings have the same key")
	}
}

func TestMappingIsWrittenAsJSON(t *testing.T) {
	m := singleMapping(1000, 1001, nil)
	data, err := json.Marshal(m)
	const want = `{"uids":[{"container_id":0,"host_id":1000,"size":1}],"gids":[{"container_id":0,"host_id":1001,"size":1}],"kind":"single"}`
	if err != nil || string(data) != want {
		t.Errorf("%s, %v; want %s", data, err, want)
	}
}

func TestRootIsToldWhatRangesAreFor(t *testing.T) {
	lack := noRanges(account{name: "root"}, true)
	want := "root needs subordinate ids as well, so that an image's other users aren't this machine's: root has no subordinate ids"
	if !strings.HasPrefix(lack.Error(), want) || !strings.Contains(lack.Remedy, "usermod --add-subuids") {
		t.Errorf("%v (remedy %q)", lack, lack.Remedy)
	}
	if other := noRanges(account{name: "ann"}, false); !strings.HasPrefix(other.Error(), "ann has no subordinate ids") {
		t.Error(other)
	}
}
