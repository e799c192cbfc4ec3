package stage

import (
	"slices"
	"testing"

	"github.com/builder-oci/builder/storage/cache"
)

func compared(old, now []cache.Input) Reason {
	var r Reason
	r.compare(old, now)
	return r
}

func TestAFileOfAMountIsNamedWithTheMount(t *testing.T) {
	const some, other = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	shows := func(content, file string) []cache.Input {
		return []cache.Input{
			{Name: "mounted:/a", Value: some},
			{Name: "mounted:/a:b", Value: content},
			{Name: "mounted:/a:b:c:d", Value: file},
		}
	}
	r := compared(shows(some, "0 0644 0:0 "+some), shows(other, "0 0600 0:0 "+some))
	want := []Difference{{Kind: ChangedFile, Name: "c:d", Mount: "/a:b", How: "mode"}}
	if !slices.Equal(r.Changes, want) || r.Files != 1 {
		t.Errorf("%+v", r)
	}
	// Of a whole image no files are listed.
	r = compared(shows(some, "f"), shows(other, "f"))
	if want := []Difference{{Kind: ChangedMount, Name: "/a:b", How: "content"}}; !slices.Equal(r.Changes, want) {
		t.Errorf("%+v", r)
	}
}

func TestAChangedMountIsNamed(t *testing.T) {
	mounts := func(declarations ...string) (inputs []cache.Input) {
		for _, d := range declarations {
			inputs = append(inputs, cache.Input{Name: "mount", Value: d})
		}
		return inputs
	}
	a := `cache target="/c" id="a" rw`
	b := `cache target="/c" id="b" rw`
	secret := `secret id="s" target="" env="S"`
	for name, c := range map[string]struct {
		was, is []cache.Input
		want    []Difference
	}{
		"same":    {mounts(a, secret), mounts(a, secret), nil},
		"changed": {mounts(secret, a), mounts(secret, b), []Difference{{Kind: ChangedMount, Name: "cache /c", How: "changed", Old: a, New: b}}},
		"added":   {mounts(a), mounts(a, secret), []Difference{{Kind: ChangedMount, Name: "secret s", How: "added", New: secret}}},
		"removed": {mounts(a, secret), mounts(secret), []Difference{{Kind: ChangedMount, Name: "cache /c", How: "removed", Old: a}}},
		"order":   {mounts(a, secret), mounts(secret, a), []Difference{{Kind: ChangedMount, How: "order"}}},
	} {
		if got := compared(c.was, c.is).Changes; !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestASettingIsNamed(t *testing.T) {
	for _, name := range []string{"platform", "network", "security", "workdir", "user", "shm-size", "dest"} {
		r := compared([]cache.Input{{Name: name, Value: "old"}}, []cache.Input{{Name: name, Value: "new"}})
		want := []Difference{{Kind: ChangedSetting, Name: name, How: "changed", Old: "old", New: "new"}}
		if !slices.Equal(r.Changes, want) {
			t.Errorf("%+v", r.Changes)
		}
	}
}
