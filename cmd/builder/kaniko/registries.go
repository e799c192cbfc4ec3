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
			if err := hostName(flag, name); err != nil {
				return err
			}
			of(canonical(name)).insecure = true
		}
	}
	insecure := func(host string) bool {
		return v.Bool("insecure-pull") || v.Bool("skip-tls-verify-pull") || isLoopback(host) || all[host] != nil && all[host].insecure
	}
	mirrored, err := mirrors(v, env)
	if err != nil {
		return err
	}
	for _, m := range mirrored {
		location, plain := withoutScheme(m[1])
		host, _, _ := strings.Cut(location, "/")
		r := of(m[0])
		r.mirrors = append(r.mirrors, mirror{location, plain || insecure(host)})
	}
	p.Registries.Conf = conf(all, v.Bool("skip-default-registry-fallback"))
	p.Registries.Certificates, err = certificates(v)
	return err
}

// mirrors gives pairs of a registry and one of its mirrors, in their order.
func mirrors(v Values, env Environment) (pairs [][2]string, err error) {
	maps, forDockers := v.StringSlice("registry-map"), v.StringSlice("registry-mirror")
	if value := env.get("KANIKO_REGISTRY_MAP"); value != "" {
		maps = append(maps, value)
	}
	if value := env.get("KANIKO_REGISTRY_MIRROR"); value != "" {
		forDockers = append(forDockers, value)
	}
	for _, list := range maps {
		for text := range strings.SplitSeq(list, ";") {
			if text == "" {
				continue
			}
			name, location, ok := strings.Cut(text, "=")
			if !ok {
				return nil, fault.New("write --registry-map=REGISTRY=MIRROR", "--registry-map %q has no mirror", text)
			}
			pairs = append(pairs, [2]string{name, location})
		}
	}
	for _, location := range forDockers {
		pairs = append(pairs, [2]string{dockers, location})
	}
	for i, pair := range pairs {
		location, _ := withoutScheme(pair[1])
		for _, name := range []string{pair[0], location} {
			if err := hostName("registry-map", name); err != nil {
				return nil, err
			}
		}
		pairs[i][0] = canonical(pair[0])
	}
	return pairs, nil
}

// hostName checks that what names a registry, or a repository below it, is quoted
// by nothing more than quotes.
func hostName(flag, name string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"\`, r) }) {
		return fault.New("name it as registry.example.com:5000", "--%s %q is no registry", flag, name)
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
