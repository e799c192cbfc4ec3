package sandbox

import (
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
)

func TestParseUlimit(t *testing.T) {
	for in, want := range map[string]Ulimit{
		"nofile=1024:2048":   {"nofile", 1024, 2048},
		"nofile=1024":        {"nofile", 1024, 1024},
		"NPROC=10:unlimited": {"nproc", 10, Unlimited},
		"core=-1":            {"core", Unlimited, Unlimited},
	} {
		if got, err := ParseUlimit(in); err != nil || got != want {
			t.Errorf("ParseUlimit(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "nofile", "nofile=", "nofile=x", "files=1", "nofile=2:1", "nofile=-2"} {
		if got, err := ParseUlimit(in); fault.Remedy(err) == "" {
			t.Errorf("ParseUlimit(%q) = %v, %v; want an error with a remedy", in, got, err)
		}
	}
}

func TestParseAddHost(t *testing.T) {
	for in, want := range map[string]string{
		"db:10.0.0.5":    "10.0.0.5\tdb",
		"db=10.0.0.5":    "10.0.0.5\tdb",
		"db:::1":         "::1\tdb",
		"db:[fe80::1]":   "fe80::1\tdb",
		"a.example=::1":  "::1\ta.example",
		"h:host-gateway": "host-gateway\th",
	} {
		if got, err := ParseAddHost(in); err != nil || got != want {
			t.Errorf("ParseAddHost(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "db", "db:", ":10.0.0.5", "db:host", "a b:1.2.3.4", "a\nb:1.2.3.4"} {
		if got, err := ParseAddHost(in); fault.Remedy(err) == "" {
			t.Errorf("ParseAddHost(%q) = %q, %v; want an error with a remedy", in, got, err)
		}
	}
}

func TestHostsFile(t *testing.T) {
	got := string(HostsFile("box", "10.0.2.100", []string{"10.0.0.5\tdb"}))
	if !strings.HasPrefix(got, "127.0.0.1\tlocalhost\n") || !strings.HasSuffix(got, "10.0.0.5\tdb\n10.0.2.100\tbox\n") {
		t.Errorf("got %q", got)
	}
}
