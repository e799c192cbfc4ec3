// Package settings reads the user's configuration, a file of a few keys. Each key
// stands for a variable of the environment, and counts where that isn't set: so a
// flag wins over a variable, that over the user's file, and that over the machine's.
package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/xrash/smetrics"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/smallfile"
)

// Machine is the file for everybody.
const Machine = "/etc/builder/config.toml"

// kind is what a key's value is.
type kind string

const (
	text    kind = "text"
	boolean kind = "true or false"
	path    kind = "a directory"
	program kind = "a program's name or path"
	paths   kind = "a list of files"
)

// keys are those that the file may have. The variable of a-b is BUILDER_A_B.
var keys = map[string]kind{
	"root":           path,
	"storage-driver": text,
	"runtime":        program,
	"isolation":      text,
	"network":        text,
	"cache-limit":    text,
	"emulate-ids":    boolean,
	"ca":             paths,
}

// Keys gives the names of all keys, sorted.
func Keys() []string {
	var names []string
	for name := range keys {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Variable gives the variable of the environment that a key stands for.
func Variable(key string) string {
	return "BUILDER_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
}

// User gives the user's file, "" where he has no home.
func User() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "builder", "config.toml")
}

// Checks tell, by key, what is wrong with a value, as the variable would have it.
type Checks map[string]func(value string) error

// Load sets the variables of the environment that the files have values for, and
// that aren't set. Files that aren't there are empty ones. The error is a
// *fault.Error with the file and line.
func Load(checks Checks, files ...string) error {
	for _, file := range files {
		values, err := read(file, checks)
		if err != nil {
			return err
		}
		for name, value := range values {
			if _, set := os.LookupEnv(name); set {
				continue
			}
			if err := os.Setenv(name, value); err != nil {
				return fault.New("", "%s: %w", file, err)
			}
		}
	}
	return nil
}

// read gives the variables and values of a file.
func read(file string, checks Checks) (map[string]string, error) {
	if file == "" {
		return nil, nil
	}
	data, err := smallfile.Read(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) && file == Machine {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New("", "reading the configuration: %w", err)
	}
	var found map[string]any
	if err := toml.Unmarshal(data, &found); err != nil {
		return nil, syntaxError(file, err)
	}
	values := map[string]string{}
	for key, value := range found {
		as, known := keys[key]
		if !known {
			return nil, fault.At(place(file, data, key), fault.New(suggestion(key), "%q is no key of the configuration", key))
		}
		text, ok := written(as, value, filepath.Dir(file))
		if !ok {
			return nil, fault.At(place(file, data, key), fault.New("write "+example(key, as), "%s is to be %s", key, as))
		}
		if check := checks[key]; check != nil {
			if err := check(text); err != nil {
				return nil, fault.At(place(file, data, key), err)
			}
		}
		values[Variable(key)] = text
	}
	return values, nil
}

// written gives a value as the variable has it. Paths are relative to the file's
// directory, in which the user wrote them.
func written(as kind, value any, dir string) (string, bool) {
	switch value := value.(type) {
	case string:
		switch {
		case as == paths, as == path && value != "", as == program && strings.Contains(value, "/"):
			return absolute(value, dir), true
		}
		return value, as != boolean
	case bool:
		return fmt.Sprint(value), as == boolean
	case []any:
		var list []string
		for _, item := range value {
			path, ok := item.(string)
			if !ok {
				return "", false
			}
			list = append(list, absolute(path, dir))
		}
		return strings.Join(list, ":"), as == paths
	}
	return "", false
}

func absolute(path, dir string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func example(key string, as kind) string {
	switch as {
	case boolean:
		return key + " = true"
	case paths:
		return key + ` = ["/etc/ssl/company.pem"]`
	}
	return key + ` = "…"`
}

// place gives the file and the line on which the key stands.
func place(file string, data []byte, key string) string {
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		if rest, ok := strings.CutPrefix(strings.TrimLeft(line, "[ \t\""), key); ok && strings.ContainsAny(rest, "=]") {
			return fmt.Sprintf("%s:%d", file, number)
		}
	}
	return file
}

func syntaxError(file string, err error) error {
	at := file
	if parse := (toml.ParseError{}); errors.As(err, &parse) {
		at = fmt.Sprintf("%s:%d", file, parse.Position.Line)
		err = errors.New(parse.Message)
	}
	return fault.At(at, fault.New(`write a key, "=" and a value on each line: storage-driver = "overlay"`, "%w", err))
}

// suggestion names the key that may be meant, and all.
func suggestion(key string) string {
	all := "the keys are " + strings.Join(Keys(), ", ")
	for _, known := range Keys() {
		if smetrics.JaroWinkler(strings.ReplaceAll(key, "_", "-"), known, 0.7, 4) > 0.85 {
			return "did you mean " + known + "?\n" + all
		}
	}
	return all
}
