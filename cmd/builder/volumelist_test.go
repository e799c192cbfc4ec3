package main

import (
	"slices"
	"testing"
)

func TestNamesAreListedNaturally(t *testing.T) {
	want := []string{"10", "a", "a1", "a01", "a2", "a2b", "a10", "a10b", "b", "b.1"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, naturally)
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
