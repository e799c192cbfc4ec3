package network

import (
	"reflect"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
)

func TestParsePort(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want []Port
	}{
		{"80", []Port{{"", 0, 80, "tcp"}}},
		{"8080:80", []Port{{"", 8080, 80, "tcp"}}},
		{"8080:80/UDP", []Port{{"", 8080, 80, "udp"}}},
		{"127.0.0.1:8080:80", []Port{{"127.0.0.1", 8080, 80, "tcp"}}},
		{"127.0.0.1::80", []Port{{"127.0.0.1", 0, 80, "tcp"}}},
		{"[::1]:8080:80", []Port{{"::1", 8080, 80, "tcp"}}},
		{"8000-8001:80-81", []Port{{"", 8000, 80, "tcp"}, {"", 8001, 81, "tcp"}}},
		{"65534-65535", []Port{{"", 0, 65534, "tcp"}, {"", 0, 65535, "tcp"}}},
	} {
		if got, err := ParsePort(tc.in); err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("ParsePort(%q) = %v, %v; want %v", tc.in, got, err, tc.want)
		}
	}
}

func TestParsePortRefuses(t *testing.T) {
	for _, in := range []string{
		"", "0", "65536", "x:80", "80:", "80/sctp", "8000-8002:80-81", "81-80", "a.example:80:80", "1.2.3:80:80", "::80:80:80",
	} {
		if got, err := ParsePort(in); err == nil || fault.Remedy(err) == "" {
			t.Errorf("ParsePort(%q) = %v, %v; want an error with a remedy", in, got, err)
		}
	}
}
