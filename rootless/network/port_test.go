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
		{"80", []Port{{"", 0, 0, 80, "tcp"}}},
		{"8080:80", []Port{{"", 8080, 0, 80, "tcp"}}},
		{"8080:80/UDP", []Port{{"", 8080, 0, 80, "udp"}}},
		{"127.0.0.1:8080:80", []Port{{"127.0.0.1", 8080, 0, 80, "tcp"}}},
		{"127.0.0.1::80", []Port{{"127.0.0.1", 0, 0, 80, "tcp"}}},
		{"[::1]:8080:80", []Port{{"::1", 8080, 0, 80, "tcp"}}},
		{"8000-8001:80-81", []Port{{"", 8000, 0, 80, "tcp"}, {"", 8001, 0, 81, "tcp"}}},
		{"8000-8099:80", []Port{{"", 8000, 8099, 80, "tcp"}}},
		{"published=8080,target=80,protocol=udp", []Port{{"", 8080, 0, 80, "udp"}}},
		{"target=80", []Port{{"", 0, 0, 80, "tcp"}}},
		{"65534-65535", []Port{{"", 0, 0, 65534, "tcp"}, {"", 0, 0, 65535, "tcp"}}},
	} {
		if got, err := ParsePort(tc.in); err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("ParsePort(%q) = %v, %v; want %v", tc.in, got, err, tc.want)
		}
	}
}

func TestParsePortRefuses(t *testing.T) {
	for _, in := range []string{
		"", "0", "65536", "x:80", "80:", "80/sctp", "8000-8002:80-81", "81-80", "a.example:80:80", "1.2.3:80:80", "::80:80:80",
		"published=80", "target=80,mode=host", "8000-8001:80-82",
	} {
		if got, err := ParsePort(in); err == nil || fault.Remedy(err) == "" {
			t.Errorf("ParsePort(%q) = %v, %v; want an error with a remedy", in, got, err)
		}
	}
}

func TestExposedPortsArePublishedOnce(t *testing.T) {
	got, err := Exposed([]string{"80/tcp", "53/udp", "53", "8000-8001/tcp", "8001"}, []Port{{"", 8080, 0, 80, "tcp"}, {"", 0, 0, 53, "tcp"}})
	want := []Port{{"", 0, 0, 53, "udp"}, {"", 0, 0, 8000, "tcp"}, {"", 0, 0, 8001, "tcp"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Exposed gives %v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"", "http", "80/sctp", "0"} {
		if got, err := Exposed([]string{bad}, nil); err == nil {
			t.Errorf("Exposed(%q) = %v", bad, got)
		}
	}
}
