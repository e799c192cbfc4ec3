package dockerfile

import (
	"errors"
	"strings"

	"github.com/distribution/reference"

	"github.com/builder-oci/builder/internal/fault"
)

// ContextName is how names of contexts are compared: as those of images, whose
// registry and tag may be left out. It is "" for what can't be one.
func ContextName(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(reference.FamiliarString(named), ":latest")
}

// contextNamed says whether a name is that of a context, and which stage that
// is; "" for one that lies outside of the file.
func (f *File) contextNamed(name string) (target string, known bool) {
	if name == "" || name == Scratch {
		return "", false
	}
	target, known = f.contexts[ContextName(name)]
	return target, known
}

// replace puts contexts in the place of stages: of one that has a context's
// name its own instructions don't count, and a base of such a name is the
// context.
func (f *File) replace(s *Stage, base string) error {
	name := base
	if _, known := f.contextNamed(s.Name); known {
		name, s.Replaced = s.Name, true
	}
	target, known := f.contextNamed(name)
	if !known {
		return nil
	}
	s.Base, s.BaseStage, s.Needs = ContextName(name), -1, nil
	if target == "" {
		return nil
	}
	i, err := f.targetStage(s, name)
	if i >= 0 {
		s.Base, s.BaseStage, s.Needs = f.Stages[i].Name, i, []int{i}
	}
	return fault.At(s.Place(f.Name), err)
}

// targetStage follows contexts that are stages of this file to an earlier one;
// -1 where they end at one that isn't.
func (f *File) targetStage(s *Stage, name string) (int, error) {
	way := []string{name}
	for seen := map[string]bool{}; ; {
		target, known := f.contextNamed(name)
		if !known {
			break
		}
		if target == "" {
			return -1, nil
		}
		seen[ContextName(name)] = true
		way, name = append(way, target), target
		if seen[ContextName(name)] {
			return -1, circular(way)
		}
	}
	if i, ok := f.stageNamed(name, s.Index); ok {
		return i, nil
	}
	if strings.EqualFold(s.Name, name) {
		return -1, circular(append(way, way[0]))
	}
	return -1, fault.New("only a stage above this one can be read", "--build-context %s=target:%s names no stage above line %d",
		way[len(way)-2], name, s.Line)
}

func circular(way []string) error {
	return fault.New("let one of them be something else than a target", "%w: %s", errCircular, strings.Join(way, " → "))
}

var errCircular = errors.New("named contexts that lead back to where they begin")
