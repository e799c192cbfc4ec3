package transport

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containers/image/v5/pkg/sysregistriesv2"
	"github.com/containers/image/v5/types"
	"github.com/distribution/reference"

	"github.com/builder-oci/builder/internal/fault"
)

// resolve gives the name under which a registry has what is called name here: a
// short name that registries.conf has an alias for is looked for there, and any
// other one on docker.io, whatever the file says of unqualified names, as docker
// has it. canonical is name in full.
func (o Options) resolve(name string, canonical reference.Named, sys *types.SystemContext) (reference.Named, error) {
	short, err := shortName(name)
	if err != nil || short == "" {
		return canonical, err
	}
	alias, err := o.alias(short, sys)
	if err != nil || alias == nil {
		return canonical, err
	}
	switch c := canonical.(type) {
	case reference.Canonical:
		return reference.WithDigest(alias, c.Digest())
	case reference.Tagged:
		return reference.WithTag(alias, c.Tag())
	}
	return reference.TagNameOnly(alias), nil
}

// shortName gives the repository of a name that names no registry, or "".
func shortName(name string) (string, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return "", err
	}
	familiar := reference.FamiliarName(named)
	if reference.Domain(named) != "docker.io" || !strings.HasPrefix(name, familiar) {
		return "", nil // with a domain, be it docker's
	}
	return familiar, nil
}

// alias gives what registries.conf says that a short name is, or nil. Another
// tool's answers to its questions aren't looked at.
func (o Options) alias(short string, sys *types.SystemContext) (reference.Named, error) {
	dir, err := os.MkdirTemp(o.TempDir, "aliases-*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	with := *sys
	with.UserShortNameAliasConfPath = filepath.Join(dir, "none.conf")
	alias, _, err := sysregistriesv2.ResolveShortNameAlias(&with, short)
	if err != nil {
		return nil, badRegistries(sys, err)
	}
	if alias == nil {
		return nil, nil
	}
	return reference.ParseNormalizedNamed(alias.Name())
}

// blocked is an error for what registries.conf says that nothing is to be had of.
func blocked(named reference.Named, sys *types.SystemContext) error {
	registry, err := sysregistriesv2.FindRegistry(sys, named.Name())
	if err != nil {
		return badRegistries(sys, err)
	}
	if registry == nil || !registry.Blocked {
		return nil
	}
	return fault.New("whoever keeps "+blockingFile(named, sys)+" can say why: it has blocked = true for "+registry.Prefix,
		"%s: the registry %s is blocked", reference.FamiliarString(named), registry.Prefix)
}

// blockingFile is the file that blocks a registry.
func blockingFile(named reference.Named, sys *types.SystemContext) string {
	found := sysregistriesv2.ConfigurationSourceDescription(sys)
	nothing, err := os.MkdirTemp("", "builder-*") // stands for registries.conf.d
	if err != nil {
		return found
	}
	defer func() { _ = os.RemoveAll(nothing) }()
	for _, file := range registriesFiles(sys) {
		alone := types.SystemContext{SystemRegistriesConfPath: file, SystemRegistriesConfDirPath: nothing}
		if registry, err := sysregistriesv2.FindRegistry(&alone, named.Name()); err == nil && registry != nil && registry.Blocked {
			found = file
		}
	}
	return found
}

// registriesFiles are the files that registries are configured by, those that
// count more last.
func registriesFiles(sys *types.SystemContext) []string {
	var files []string
	for _, path := range strings.Split(sysregistriesv2.ConfigurationSourceDescription(sys), ", ") {
		if st, err := os.Stat(path); err == nil && !st.IsDir() {
			files = append(files, path)
			continue
		}
		inside, _ := filepath.Glob(filepath.Join(path, "*.conf"))
		slices.Sort(inside)
		files = append(files, inside...)
	}
	return files
}

// badRegistries is the error of files that can't be read as they should.
func badRegistries(sys *types.SystemContext, err error) error {
	return fault.New("mend them: "+strings.Join(registriesFiles(sys), ", ")+"\nman containers-registries.conf    # tells what they can say",
		"the configuration of registries: %w", err)
}

// mirrorLine is what registries.conf would say of a registry that has a mirror.
func mirrorLine(domain string) string {
	return fmt.Sprintf("or ask a mirror first, by these lines in ~/.config/containers/registries.conf:\n"+
		"  [[registry]]\n  location = %q\n  [[registry.mirror]]\n  location = \"MIRROR\"    # such as mirror.example.com", domain)
}

// mirrorNote tells of what mirrors said before the registry itself failed.
func mirrorNote(err error) string {
	_, after, found := strings.Cut(err.Error(), "(Mirrors also failed: ")
	if !found {
		return ""
	}
	said, _, _ := strings.Cut(after, "): ")
	return fmt.Sprintf(" (mirrors failed before: %s)", strings.ReplaceAll(said, "\n", "; "))
}
