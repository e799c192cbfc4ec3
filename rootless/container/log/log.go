// Package log keeps what a container's program prints, in the form of docker's
// json-file: an object a line, in the file log of the container's directory.
//
//	{"log":"hello world\n","stream":"stdout","time":"2026-01-31T08:30:00.123456789Z"}
//
// What a program prints without ending the line is written when 16 KiB of it have
// come together, or at the end; such an entry has no \n. Bytes that aren't UTF-8
// become U+FFFD. Where a limit is set, a full file becomes log.1, the one before it
// log.2, and so on.
//
// One [Writer], of the container's monitor, writes. Any number of processes [Read]
// meanwhile: they lock nothing, and pass over what isn't a whole entry.
package log

import (
	"path/filepath"
	"strconv"
	"strings"
	"time"

	units "github.com/docker/go-units"

	"github.com/builder-oci/builder/internal/fault"
)

// The drivers, in docker's words.
const (
	DriverJSON = "json-file"
	DriverNone = "none" // nothing is kept
)

// Options are how a container's log is kept.
type Options struct {
	Driver  string `json:"driver,omitempty"`   // DriverJSON where it is empty
	MaxSize int64  `json:"max_size,omitempty"` // bytes of a file that is then full; 0: there is no limit
	MaxFile int    `json:"max_file,omitempty"` // files with the current one; 0 is 1
}

// ParseOptions reads the values of --log-driver, which may be empty, and of
// --log-opt, KEY=VALUE each.
func ParseOptions(driver string, values []string) (Options, error) {
	o := Options{Driver: DriverJSON}
	switch driver {
	case "", DriverJSON:
	case DriverNone:
		o.Driver = DriverNone
		if len(values) > 0 {
			return o, fault.New("leave out --log-opt", "invalid logging opts for driver none")
		}
	default:
		return o, fault.New("use "+DriverJSON+", which logs shows, or "+DriverNone,
			"logger: no log driver named '%s' is registered", driver)
	}
	for _, text := range values {
		key, value, _ := strings.Cut(text, "=")
		if err := o.set(key, value); err != nil {
			return o, err
		}
	}
	if o.MaxFile > 1 && o.MaxSize == 0 {
		return o, fault.New("give --log-opt max-size=10m as well", "max-file cannot be set without max-size")
	}
	return o, nil
}

// set takes one --log-opt.
func (o *Options) set(key, value string) (err error) {
	switch key {
	case "max-size":
		o.MaxSize, err = units.FromHumanSize(value)
		if err != nil || o.MaxSize <= 0 {
			return fault.New("write bytes, or a number with k, m or g: max-size=10m", "max-size must be a positive number, not %q", value)
		}
	case "max-file":
		o.MaxFile, err = strconv.Atoi(value)
		if err != nil || o.MaxFile < 1 {
			return fault.New("write how many files are kept: max-file=3", "max-file cannot be less than 1, and is %q", value)
		}
	default:
		return fault.New("it has max-size and max-file", "unknown log opt '%s' for %s log driver", key, o.Driver)
	}
	return nil
}

// Entry is a line of output, or a part of one.
type Entry struct {
	Log    string    `json:"log"`    // with its \n, where the line ends here
	Stream string    `json:"stream"` // Stdout or Stderr
	Time   time.Time `json:"time"`
}

// Names of streams.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// fileName is the file that is written.
const fileName = "log"

// path names the n-th file before the current one.
func path(dir string, n int) string {
	if n == 0 {
		return filepath.Join(dir, fileName)
	}
	return filepath.Join(dir, fileName+"."+strconv.Itoa(n))
}
