package checks

import (
	"cmp"
	"slices"
	"strings"

	"github.com/builder-oci/builder/rootless/network"
)

// standIns are what takes another one's place.
var standIns = map[string]string{
	"overlay": "fuse-overlayfs", "crun": "runc", "runc": "crun", "pasta": "slirp4netns", "slirp4netns": "pasta",
}

// settle draws conclusions from what the checks have found by themselves: what
// something else stands in for is no lack, what follows from another lack isn't told
// twice, and a user namespace is worth what it is needed for.
func settle(results []Result) []Result {
	state := func(name string) State { return find(results, name).State }
	for i := range results {
		r := &results[i]
		switch r.Check {
		case "nested-namespace":
			if state("user-namespace") != OK {
				*r = skipped(r.Check, needsNamespace)
			}
		case "store":
			// A place that can't be one: the configuration has been blamed.
			if r.State == Fails && strings.HasSuffix(find(results, "configuration").Found, ": "+r.Found) {
				*r = skipped(r.Check, "the configuration has to be mended first")
			}
		case "user-namespace":
			if r.State == Less && state("isolation") == Fails {
				r.State = Fails
			}
		case "mapping":
			if r.State == Less && told(results, *r) {
				r.State, r.Found, r.Remedy = Info, "as many ids as what stands above leaves", ""
			}
		case "isolation":
			if r.State == Fails && state("user-namespace") != OK && told(results, *r) {
				r.Found, r.Remedy = "none, as there is no user namespace", ""
			}
		}
		if r.Check == "overlay" && r.State == Less && state("fuse-overlayfs") != OK {
			r.Found += "; vfs stands in, which copies every file"
		}
		if instead := standIns[r.Check]; instead != "" && r.State == Less && state(instead) == OK {
			r.State = Info
		}
	}
	return results
}

// byNetwork tells of the network that is configured, and has the helpers count as
// what they are to it: nothing stands in for the one that it is to be carried by.
func byNetwork(asked network.Choice, results []Result) []Result {
	if asked.Mode == "" {
		return results
	}
	none := find(results, "pasta").State == Less && find(results, "slirp4netns").State == Less
	for i := range results {
		r := &results[i]
		switch {
		case r.State != Less || r.Check != "pasta" && r.Check != "slirp4netns":
		case asked.Helper == r.Check, asked.Mode == network.ModePrivate && asked.Helper == "" && none:
			r.State = Fails
		default:
			r.State = Info
		}
	}
	what := cmp.Or(asked.Helper, string(asked.Mode))
	if asked.Container != "" {
		what += ":" + asked.Container
	}
	return append(results, about("network").result(Info, what+", as the configuration or BUILDER_NETWORK has it"))
}

// told tells whether another result has the same words.
func told(results []Result, r Result) bool {
	return slices.ContainsFunc(results, func(other Result) bool { return other.Check != r.Check && other.Found == r.Found })
}
