package main

import (
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/stage"
)

func TestParseDevice(t *testing.T) {
	for text, want := range map[string]stage.HostDevice{
		"/dev/null":            {Source: "/dev/null", Target: "/dev/null"},
		"/dev/null:rwm":        {Source: "/dev/null", Target: "/dev/null"},
		"/dev/null:rw":         {Source: "/dev/null", Target: "/dev/null"},
		"/dev/null:/x/":        {Source: "/dev/null", Target: "/x"},
		"/dev/../dev/null:/x":  {Source: "/dev/null", Target: "/x"},
		"/dev/null:/dev/x:mwr": {Source: "/dev/null", Target: "/dev/x"},
		"/dev/pts":             {Source: "/dev/pts", Target: "/dev/pts"},
	} {
		if got, err := parseDevice(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, why := range map[string]string{
		"":                      "parted by a colon",
		"null":                  "parted by a colon",
		"/dev/null:r":           "can't be held",
		"/dev/null:/dev/null:m": "can't be held",
		"/dev/null:rx":          "none of r, w and m",
		"/dev/null:":            "can't be held",
		"/dev/a:/b:/c":          "parted by a colon",
		"/dev/gone":             "no such file",
		"/etc/passwd":           "no device",
		"/etc":                  "no device",
		"nvidia.com/gpu=0":      "Container Device Interface",
	} {
		_, err := parseDevice(text)
		if err == nil || !strings.Contains(err.Error(), why) || fault.Remedy(err) == "" {
			t.Errorf("%q: %v; want %q and a remedy", text, err, why)
		}
	}
}
