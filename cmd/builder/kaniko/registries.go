package kaniko

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
)

const dockers = "docker.io"

// Registries are settings of single registries.
type Registries struct {
	// Conf is what registries.conf has to say, or "".
	Conf string
	// Certificates are, by registry, files that certs.d has to have.
	Certificates map[string]Certificate
}

// A Certificate has paths of files in PEM form: that of who has signed the
// registry's, and the user's own with its key. Each may be "".
type Certificate struct{ Authority, Client, Key string }

// registry is an entry of registries.conf.
type registry struct {
	insecure bool
	mirrors  []mirror
}

type mirror struct {
	location string
	insecure bool
}

// readRegistries gathers what flags and environment say.
func (p *Plan) readRegistries(v Values, env Environment) error {
	all := map[string]*registry{}
	of := func(name string) *registry {
		if all[name] == nil {
			all[name] = &registry{}
		}
		return all[name]
	}
	for _, flag := range []string{"insecure-registry", "skip-tls-verify-registry"} {
		for _, name := range v.StringSlice(flag) {
			if err := hostName("--"+flag, name); err != nil {
				return err
			}
			of(canonical(name)).insecure = true
		}
	}
	insecure := func(host string) bool {
		return v.Bool("insecure-pull") || v.Bool("skip-tls-verify-pull") || isLoopback(host) || all[host] != nil && all[host].insecure
	}
	found, err := mirrors(v, env)
	if err != nil {
		return err
	}
	for _, m := range found {
		location, plain := withoutScheme(m.location)
		host, _, _ := strings.Cut(location, "/")
		r := of(m.registry)
		r.mirrors = append(r.mirrors, mirror{location, plain || insecure(host)})
	}
	p.Registries.Conf = conf(all, v.Bool("skip-default-registry-fallback"))
	p.Registries.Certificates, err = certificates(v)
	return err
}

// mirrored is a registry and one of its mirrors, with the flag or variable that says so.
type mirrored struct{ registry, location, by string }

// mirrors gives them in their order.
func mirrors(v Values, env Environment) ([]mirrored, error) {
	all, err := mapped(v.StringSlice("registry-map"), "--registry-map")
	if err != nil {
		return nil, err
	}
	const mapVariable, mirrorVariable = "KANIKO_REGISTRY_MAP", "KANIKO_REGISTRY_MIRROR"
	more, err := mapped([]string{env.get(mapVariable)}, mapVariable)
	if err != nil {
		return nil, err
	}
	all = append(all, more...)
	for _, location := range v.StringSlice("registry-mirror") {
		all = append(all, mirrored{dockers, location, "--registry-mirror"})
	}
	if location := env.get(mirrorVariable); location != "" {
		all = append(all, mirrored{dockers, location, mirrorVariable})
	}
	for i, m := range all {
		location, _ := withoutScheme(m.location)
		for _, name := range []string{m.registry, location} {
			if err := hostName(m.by, name); err != nil {
				return nil, err
			}
		}
		all[i].registry = canonical(m.registry)
	}
	return all, nil
}

// mapped reads lists of REGISTRY=MIRROR, which are separated by semicolons.
func mapped(lists []string, by string) (all []mirrored, err error) {
	for _, list := range lists {
		for text := range strings.SplitSeq(list, ";") {
			if text == "" {
				continue
			}
			name, location, ok := strings.Cut(text, "=")
			if !ok {
				return nil, fault.New("write "+by+"=REGISTRY=MIRROR", "%s %q has no mirror", by, text)
			}
			all = append(all, mirrored{name, location, by})
		}
	}
	return all, nil
}

// hostName checks that what names a registry, or a repository below it, is quoted
// by nothing more than quotes. by is the flag or variable that has it.
func hostName(by, name string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"\`, r) }) {
		return fault.New("name it as registry.example.com:5000", "%s %q is no registry", by, name)
	}
	return nil
}

func withoutScheme(location string) (rest string, plain bool) {
	scheme, rest, ok := strings.Cut(location, "://")
	if !ok {
		rest = location
	}
	return strings.TrimSuffix(rest, "/"), ok && scheme == "http"
}

// canonical is the name by which registries.conf knows a registry.
func canonical(name string) string {
	if name == "index."+dockers || name == "registry-1."+dockers {
		return dockers
	}
	return name
}

func isLoopback(host string) bool {
	if i := strings.LastIndexByte(host, ':'); i > 0 {
		host = host[:i]
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// conf writes registries.conf. Docker's registry without the fallback is one
// whose place the last mirror takes.
func conf(all map[string]*registry, noFallback bool) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		r := *all[name]
		location := name
		if last := len(r.mirrors) - 1; noFallback && name == dockers && last >= 0 {
			location, r.insecure, r.mirrors = r.mirrors[last].location, r.mirrors[last].insecure, r.mirrors[:last]
		}
		fmt.Fprintf(&b, "[[registry]]\nprefix = %q\nlocation = %q\n", name, location)
		if r.insecure {
			b.WriteString("insecure = true\n")
		}
		for _, m := range r.mirrors {
			fmt.Fprintf(&b, "[[registry.mirror]]\nlocation = %q\n", m.location)
			if m.insecure {
				b.WriteString("insecure = true\n")
			}
		}
	}
	return b.String()
}

// certificates reads REGISTRY=FILE and REGISTRY=CERT,KEY.
func certificates(v Values) (map[string]Certificate, error) {
	all := map[string]Certificate{}
	for _, text := range v.StringSlice("registry-certificate") {
		name, file, ok := strings.Cut(text, "=")
		if !ok || name == "" || file == "" || strings.Contains(name, "/") {
			return nil, fault.New("write --registry-certificate=REGISTRY=FILE", "--registry-certificate %q can't be read", text)
		}
		c := all[name]
		c.Authority = file
		all[name] = c
	}
	for _, text := range v.StringSlice("registry-client-cert") {
		name, files, _ := strings.Cut(text, "=")
		cert, key, ok := strings.Cut(files, ",")
		if !ok || name == "" || cert == "" || key == "" || strings.Contains(name, "/") {
			return nil, fault.New("write --registry-client-cert=REGISTRY=CERT,KEY", "--registry-client-cert %q can't be read", text)
		}
		c := all[name]
		c.Client, c.Key = cert, key
		all[name] = c
	}
	return all, nil
}
