package main

import (
	"strconv"
	"strings"

	units "github.com/docker/go-units"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
)

// The log drivers: docker's default, and that which keeps nothing.
const (
	logJSON = "json-file"
	logNone = "none"
)

// parseLogOptions reads --log-driver and the --log-opt beside it.
func parseLogOptions(driver string, options []string) (o container.LogOptions, err error) {
	switch o.Driver = driver; driver {
	case "":
		o.Driver = logJSON
	case logJSON, logNone:
	default:
		return o, fault.New("use json-file or none", "logger: no log driver named '%s' is registered", driver)
	}
	if o.Driver == logNone && len(options) > 0 {
		return o, fault.New("leave out --log-opt", "invalid logging opts for driver none")
	}
	for _, option := range options {
		if err := setLogOption(&o, option); err != nil {
			return o, err
		}
	}
	if o.MaxSize == 0 && o.MaxFile > 1 {
		return o, fault.New("add --log-opt max-size=10m", "max-file cannot be set without max-size")
	}
	return o, nil
}

func setLogOption(o *container.LogOptions, option string) (err error) {
	name, value, found := strings.Cut(option, "=")
	wrong := func(why string) error {
		return fault.New("write --log-opt max-size=10m and --log-opt max-file=3", "--log-opt %s: %s", option, why)
	}
	switch {
	case !found:
		return wrong("it has no value")
	case name == "max-size":
		if o.MaxSize, err = units.RAMInBytes(value); err != nil || o.MaxSize <= 0 {
			return wrong("it is no size, such as 10m")
		}
	case name == "max-file":
		if o.MaxFile, err = strconv.Atoi(value); err != nil || o.MaxFile < 1 {
			return wrong("max-file cannot be less than 1")
		}
	default:
		return wrong("unknown log opt '" + name + "' for json-file log driver")
	}
	return nil
}
