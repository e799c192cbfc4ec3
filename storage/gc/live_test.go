package gc

import (
	"slices"
	"testing"

	"github.com/builder-oci/builder/storage/snapshot"
)

// A kill between any two removals must leave no record that leads to one that has
// gone.
func TestRecordsGoBeforeThoseTheyLeadTo(t *testing.T) {
	records := map[snapshot.Key]*snapshot.Record{
		"base": {}, "one": {Parent: "base"}, "two": {Parent: "one"}, "other": {Parent: "one"},
		"chain": {Parent: "below", Alias: "two"}, "below": {Alias: "one"}, "top": {Parent: "chain"}, "lost": {Parent: "kept"},
	}
	for range 20 { // maps have no order
		order := leadingFirst(records)
		if len(order) != len(records) {
			t.Fatalf("%d of %d: %v", len(order), len(records), order)
		}
		for key, rec := range records {
			for _, to := range []snapshot.Key{rec.Parent, rec.Alias} {
				if at := slices.Index(order, to); at >= 0 && at < slices.Index(order, key) {
					t.Fatalf("%s goes before %s: %v", to, key, order)
				}
			}
		}
	}
}
