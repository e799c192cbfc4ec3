package build

import (
	"slices"
	"testing"

	digest "github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/storage/layout"
)

func TestHistoryIsMatchedToTheLayers(t *testing.T) {
	full, empty := v1.History{CreatedBy: "COPY"}, v1.History{CreatedBy: "ENV", EmptyLayer: true}
	for _, tc := range []struct {
		name    string
		layers  int
		history []v1.History
		want    []int
		more    bool
	}{
		{"none", 2, nil, nil, false},
		{"as it should be", 2, []v1.History{full, empty, full}, []int{0, -1, 1}, false},
		{"too short", 2, []v1.History{full}, []int{0}, false},
		{"too long", 1, []v1.History{full, empty, full, full}, []int{0, -1, -1, -1}, true},
		{"without layers", 0, []v1.History{full}, []int{-1}, true},
	} {
		config := &layout.ImageConfig{History: tc.history}
		config.RootFS.DiffIDs = make([]digest.Digest, tc.layers)
		history := importHistory(config)
		var got []int
		for _, h := range history {
			got = append(got, h.Layer)
		}
		if !slices.Equal(got, tc.want) || tellsOfMore(history) != tc.more {
			t.Errorf("%s: %v, %v", tc.name, got, tellsOfMore(history))
		}
	}
}

func TestTheFirstDigitsOfAnIdAreNoBase(t *testing.T) {
	for name, want := range map[string]string{
		"cafe": "docker.io/library/cafe:latest", "a": "docker.io/library/a:latest", "7": "docker.io/library/7:latest",
		"0123456789ab": "0123456789ab", "nginx": "nginx", "cafe:1": "cafe:1", "cafe/a": "cafe/a",
	} {
		if got := byName(name); got != want {
			t.Errorf("%s means %s, not %s", name, got, want)
		}
	}
}
