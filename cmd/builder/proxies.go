package main

import (
	"encoding/json"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/storage/transport"
)

// proxyNames are docker's predefined build arguments, which are written in lower
// case, too.
var proxyNames = []string{"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"}

// proxies are what every RUN sees: of --build-arg, else of the environment, else of
// docker's config.json. As docker passes them, they are in no layer, no config and no
// key.
func proxies(args map[string]string) []string {
	configured := dockerProxies()
	var set []string
	for _, name := range proxyNames {
		lower := strings.ToLower(name)
		inEnv := os.Getenv(name)+os.Getenv(lower) != ""
		for _, n := range []string{name, lower} {
			value, given := args[n]
			switch {
			case given:
			case inEnv:
				value = os.Getenv(n)
			default:
				value = configured[name]
			}
			if given || value != "" {
				set = append(set, n+"="+value)
			}
		}
	}
	return set
}

// containerProxies are what a container sees, which are docker's alone.
func containerProxies() []string {
	configured := dockerProxies()
	var set []string
	for _, name := range proxyNames {
		if value := configured[name]; value != "" {
			set = append(set, name+"="+value, strings.ToLower(name)+"="+value)
		}
	}
	return set
}

// dockerProxies reads those that docker's config.json has for whatever runs in
// containers, by their names in upper case. One that can't be read has none, as for
// docker.
func dockerProxies() map[string]string {
	type proxies struct{ HTTPProxy, HTTPSProxy, FTPProxy, NoProxy, AllProxy string }
	var config struct{ Proxies map[string]proxies }
	data, err := os.ReadFile(transport.DockerConfigFile())
	if err != nil || json.Unmarshal(data, &config) != nil {
		return nil
	}
	p := config.Proxies["default"] // the others are for daemons elsewhere
	return map[string]string{
		"HTTP_PROXY": p.HTTPProxy, "HTTPS_PROXY": p.HTTPSProxy, "FTP_PROXY": p.FTPProxy,
		"NO_PROXY": p.NoProxy, "ALL_PROXY": p.AllProxy,
	}
}

// farProxy tells of a proxy that programs can't reach, since it is on this machine's
// loopback and they have a network of their own; nil where there is none.
func farProxy(proxies []string, mode network.Mode) error {
	if mode == "" {
		mode = network.Default()
	}
	if mode != network.ModePrivate {
		return nil
	}
	for _, proxy := range proxies {
		name, value, _ := strings.Cut(proxy, "=")
		if strings.EqualFold(name, "NO_PROXY") {
			continue
		}
		if host := hostOf(value); host == "localhost" || net.ParseIP(host).IsLoopback() {
			return fault.New("use the host's network: --network host\nor let the proxy listen at another of this machine's addresses, and name that",
				"%s is at %s, this machine's loopback, which a RUN with a network of its own can't reach", name, host)
		}
	}
	return nil
}

// hostOf is the host of a proxy's address, which needs no scheme.
func hostOf(proxy string) string {
	if !strings.Contains(proxy, "://") {
		proxy = "http://" + proxy
	}
	u, err := url.Parse(proxy)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
