package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/flagdoc"
	"github.com/builder-oci/builder/internal/fault"
)

// refusedCaches are the flags for a cache outside of the store.
func refusedCaches() []cli.Flag {
	var flags []cli.Flag
	for _, name := range []string{"cache-from", "cache-to"} {
		flags = append(flags, &cli.StringSliceFlag{
			Name: name, Hidden: true, Category: flagdoc.Refused,
			Action: func(_ *cli.Context, values []string) error { return refuseCache(flagdoc.Dashed(name), values[0]) },
		})
	}
	return flags
}

// refuseCache says why a cache can't be kept where the user wants it, and what
// does the same.
func refuseCache(flag, value string) error {
	const leaveOut = "leave it out: the cache of this store is used all the same"
	const keepStore = leaveOut + "\nto carry the cache on, keep the store's directory from run to run: builder info tells where it is, --root and BUILDER_ROOT choose it"
	switch kind := cacheType(value); kind {
	case "registry":
		return fault.New(leaveOut, "%s is not supported yet: builder keeps its cache in the store, and can't share it through a registry", flag)
	case "inline":
		return fault.New(leaveOut, "%s type=inline is not supported yet: builder keeps its cache in the store, and writes none into images", flag)
	case "local", "gha", "s3", "azblob":
		return fault.New(keepStore, "%s type=%s is not supported: builder keeps its cache in the store alone", flag, kind)
	default:
		return fault.New(leaveOut, "%s: type=%s isn't known; none is supported yet, for builder keeps its cache in the store", flag, kind)
	}
}

// cacheType reads the type of a cache: a value that isn't a list of keys names an
// image in a registry.
func cacheType(value string) string {
	kind := "registry"
	for field := range strings.SplitSeq(value, ",") {
		if key, v, ok := strings.Cut(strings.TrimSpace(field), "="); ok && strings.EqualFold(key, "type") {
			kind = v
		}
	}
	return kind
}
