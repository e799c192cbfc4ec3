package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/filter"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/storage/layout"
)

// psFilters are the keys of ps --filter; isolation and is-task, which docker has
// for Windows and swarms, are taken too.
var psFilters = []string{
	"ancestor", "before", "exited", "expose", "health", "id", "label", "name", "network", "publish", "since", "status", "volume",
}

// selection is which containers ps shows.
type selection struct {
	set    filter.Set
	all    bool
	last   int // the last ones of all; no limit where it isn't positive
	images *layout.Layout
}

// of chooses from containers, of which the newest comes first.
func (s selection) of(found []container.Found) ([]container.Found, error) {
	if err := s.set.Check(append([]string{"isolation", "is-task"}, psFilters...)...); err != nil {
		return nil, err
	}
	tests, err := s.tests(found)
	if err != nil {
		return nil, err
	}
	if !s.all && s.last <= 0 && !s.set.Has("status") {
		tests = append(tests, func(f container.Found) bool { return f.State.Lives() })
	}
	if found, err = s.between(found); err != nil {
		return nil, err
	}
	var chosen []container.Found
	for _, f := range found {
		if s.last > 0 && len(chosen) == s.last {
			break
		}
		if !slices.ContainsFunc(tests, func(holds func(container.Found) bool) bool { return !holds(f) }) {
			chosen = append(chosen, f)
		}
	}
	return chosen, nil
}

// tests gives one for each key that is asked for. One of a key's values must fit,
// but all of label's.
func (s selection) tests(found []container.Found) (tests []func(container.Found) bool, err error) {
	makers := []struct {
		key string
		of  func(values []string) (func(container.Found) bool, error)
	}{
		{"id", byID},
		{"name", byName},
		{"exited", byExitCode},
		{"status", byStatus},
		{"health", byHealth},
		{"volume", byVolume},
		{"network", byNetwork},
		{"publish", byPublished},
		{"expose", byExposed},
		{"is-task", byTask},
		{"ancestor", func(values []string) (func(container.Found) bool, error) { return s.byAncestor(found, values) }},
	}
	for _, m := range makers {
		if !s.set.Has(m.key) {
			continue
		}
		test, err := m.of(s.set.Values(m.key))
		if err != nil {
			return nil, err
		}
		tests = append(tests, test)
	}
	return append(tests, func(f container.Found) bool { return s.set.HasLabels(f.Config.Labels) }), nil
}

// between leaves out what is newer than before, and what isn't newer than since.
func (s selection) between(found []container.Found) ([]container.Found, error) {
	all := found
	for _, key := range []string{"before", "since"} {
		values := s.set.Values(key)
		if len(values) == 0 {
			continue
		}
		for _, ref := range values {
			at, err := indexOf(all, ref)
			if err != nil {
				return nil, err
			}
			same := func(f container.Found) bool { return f.Config.ID == all[at].Config.ID }
			if ref != values[len(values)-1] {
				continue // as docker: only the last one counts
			}
			switch i := slices.IndexFunc(found, same); {
			case key == "before":
				found = found[i+1:]
			case i >= 0:
				found = found[:i]
			}
		}
	}
	return found, nil
}

// indexOf finds a container by its name, its id, or the beginning of that.
func indexOf(found []container.Found, ref string) (int, error) {
	ref = strings.TrimPrefix(ref, "/")
	exact := func(f container.Found) bool { return ref != "" && (f.Config.Name == ref || f.Config.ID == ref) }
	if i := slices.IndexFunc(found, exact); i >= 0 {
		return i, nil
	}
	begins := func(f container.Found) bool { return ref != "" && strings.HasPrefix(f.Config.ID, ref) }
	i := slices.IndexFunc(found, begins)
	if i < 0 || slices.ContainsFunc(found[i+1:], begins) {
		return 0, container.Unknown(ref)
	}
	return i, nil
}

// matching tells whether one of values is a text, or as a regular expression is
// found in it, as docker has it for ids and names.
func matching(values []string) func(text string) bool {
	var patterns []*regexp.Regexp
	for _, value := range values {
		if pattern, err := regexp.Compile(value); err == nil {
			patterns = append(patterns, pattern)
		}
	}
	return func(text string) bool {
		return slices.Contains(values, text) ||
			slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(text) })
	}
}

func byID(values []string) (func(container.Found) bool, error) {
	fits := func(f container.Found) bool {
		return slices.ContainsFunc(values, func(v string) bool { return strings.HasPrefix(f.Config.ID, v) })
	}
	return fits, nil
}

func byName(values []string) (func(container.Found) bool, error) {
	fits := matching(values)
	return func(f container.Found) bool { return fits(f.Config.Name) || fits("/"+f.Config.Name) }, nil
}

func byExitCode(values []string) (func(container.Found) bool, error) {
	var codes []int
	for _, value := range values {
		code, err := strconv.Atoi(value)
		if err != nil {
			return nil, badFilter("exited", value, "write an exit code: exited=137")
		}
		codes = append(codes, code)
	}
	return func(f container.Found) bool {
		return !f.State.Lives() && !f.State.StartedAt.IsZero() && slices.Contains(codes, f.State.ExitCode)
	}, nil
}

func byStatus(values []string) (func(container.Found) bool, error) {
	known := []string{"created", "restarting", "running", "removing", "paused", "exited", "dead"}
	for _, value := range values {
		if !slices.Contains(known, value) {
			return nil, badFilter("status", value, "write "+strings.Join(known, ", "))
		}
	}
	return func(f container.Found) bool { return slices.Contains(values, string(f.State.Status)) }, nil
}

// byHealth knows one health alone: no container is asked for its own yet.
func byHealth(values []string) (func(container.Found) bool, error) {
	known := []string{"starting", "healthy", "unhealthy", "none"}
	for _, value := range values {
		if !slices.Contains(known, value) {
			return nil, fault.New("write "+strings.Join(known, ", "), "Unrecognised filter value for health: %s", value)
		}
	}
	return func(container.Found) bool { return slices.Contains(values, "none") }, nil
}

// byTask knows no swarm's tasks.
func byTask(values []string) (func(container.Found) bool, error) {
	tasks := slices.Contains(values, "true")
	if !tasks && !slices.Contains(values, "false") {
		return nil, badFilter("is-task", fmt.Sprint(values), "write is-task=true or is-task=false")
	}
	return func(container.Found) bool { return !tasks }, nil
}

func byVolume(values []string) (func(container.Found) bool, error) {
	return func(f container.Found) bool {
		return slices.ContainsFunc(f.Config.Mounts, func(m container.Mount) bool {
			return slices.Contains(values, m.Destination) || slices.Contains(values, m.Name) || m.Name == "" && slices.Contains(values, m.Source)
		})
	}, nil
}

func byNetwork(values []string) (func(container.Found) bool, error) {
	return func(f container.Found) bool {
		n := f.Config.Network
		return n.Container == "" && (slices.Contains(values, networkName(n)) || slices.Contains(values, string(n.Mode)))
	}, nil
}

func byPublished(values []string) (func(container.Found) bool, error) {
	ports, err := filterPorts("publish", values)
	return func(f container.Found) bool {
		return slices.ContainsFunc(containerRow{Found: f}.ports(), func(p network.Port) bool { return ports(p.HostPort, p.Proto) })
	}, err
}

func byExposed(values []string) (func(container.Found) bool, error) {
	ports, err := filterPorts("expose", values)
	return func(f container.Found) bool {
		row := containerRow{Found: f}
		return slices.ContainsFunc(append(row.exposed(), row.ports()...), func(p network.Port) bool { return ports(p.ContainerPort, p.Proto) })
	}, err
}

// filterPorts tells of a port whether it is in one of the ranges.
func filterPorts(key string, values []string) (func(port uint16, proto string) bool, error) {
	for _, value := range values {
		if strings.Contains(value, ":") {
			return nil, fault.New("write a port or a range: "+key+"=8000-8080/tcp", "filter for '%s' should not contain ':': %s", key, value)
		}
		if _, _, _, ok := portRange(value); !ok {
			return nil, fault.New("write a port or a range: "+key+"=8000-8080/tcp", "error while looking up for %s %s: invalid port", key, value)
		}
	}
	return func(port uint16, proto string) bool {
		return slices.ContainsFunc(values, func(value string) bool {
			first, last, p, _ := portRange(value)
			return p == proto && first <= port && port <= last
		})
	}, nil
}

// byAncestor takes the containers of images, and of those that have an image's
// layers below their own. What isn't an image has none.
func (s selection) byAncestor(found []container.Found, refs []string) (func(container.Found) bool, error) {
	fits := map[string]bool{}
	for _, ref := range refs {
		img, err := s.images.Find(ref)
		if err != nil {
			continue
		}
		below, err := s.images.Config(img)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			fits[f.Config.ImageID] = fits[f.Config.ImageID] || f.Config.ImageID == img.ID.String() || s.standsOn(f.Config.ImageID, below.RootFS.DiffIDs)
		}
	}
	return func(f container.Found) bool { return fits[f.Config.ImageID] }, nil
}

// standsOn tells whether an image has these layers, and more.
func (s selection) standsOn(id string, layers []digest.Digest) bool {
	img, err := s.images.Find(id)
	if err != nil || len(layers) == 0 {
		return false
	}
	config, err := s.images.Config(img)
	return err == nil && len(config.RootFS.DiffIDs) > len(layers) && slices.Equal(config.RootFS.DiffIDs[:len(layers)], layers)
}

func badFilter(key, value, remedy string) error {
	return fault.New(remedy, "invalid filter '%s=%s'", key, value)
}
