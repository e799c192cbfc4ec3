// Package settings reads the user's configuration, a file of a few keys. Each key
// stands for a variable of the environment, and counts where that isn't set: so a
// flag wins over a variable, that over the user's file, and that over the machine's.
// Mistakes are told here for all of them: by the name of the variable, or by the
// file and line.
package settings

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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

// Present gives those of the files that are there.
func Present(files ...string) (present []string) {
	for _, file := range files {
		if _, err := os.Stat(file); err == nil {
			present = append(present, file)
		}
	}
	return present
}

// Checks tell, by key, what is wrong with a value, as the variable would have it.
type Checks map[string]func(value string) error

// of gives what is wrong with a key's value.
func (c Checks) of(key, value string) error {
	if check := c[key]; check != nil {
		return check(value)
	}
	return nil
}

// Load sets the variables of the environment that the files have values for, and
// that aren't set or are empty. Files that aren't there are empty ones. The error is
// a *fault.Error that names the variable, or the file and line, of the first
// mistake; what is mistaken counts as if it weren't there, and all else counts.
func Load(checks Checks, files ...string) error {
	mistake := variables(checks)
	for _, file := range files {
		values, err := read(file, checks)
		mistake = cmp.Or(mistake, err)
		for name, value := range values {
			if os.Getenv(name) != "" {
				continue
			}
			if err := os.Setenv(name, value); err != nil {
				mistake = cmp.Or(mistake, error(fault.New("", "%s: %w", file, err)))
			}
		}
	}
	return mistake
}

// variables unsets the keys' variables that are empty, as those are that a script
// hands on without having them itself, and those whose values make no sense.
func variables(checks Checks) (mistake error) {
	for _, key := range Keys() {
		name := Variable(key)
		value := os.Getenv(name)
		var err error
		if value != "" {
			if err = checks.of(key, value); keys[key] == boolean {
				err = truth(name, value)
			}
		}
		if value == "" || err != nil {
			_ = os.Unsetenv(name) // fails for no name that we have
		}
		mistake = cmp.Or(mistake, fault.At(name, err))
	}
	return mistake
}

// truth tells that a variable's value is neither true nor false.
func truth(name, value string) error {
	if _, err := strconv.ParseBool(value); err != nil {
		return fault.New("write "+name+"=true", "%q is neither true nor false (nor 1 or 0)", value)
	}
	return nil
}

// read gives the variables and values of a file, and the first mistake in it.
func read(file string, checks Checks) (map[string]string, error) {
	if file == "" {
		return nil, nil
	}
	data, err := smallfile.Read(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) && file == Machine {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New("make it a file that you can read, or remove it", "reading the configuration: %w", err)
	}
	var found map[string]any
	meta, err := toml.Decode(string(data), &found)
	if err != nil {
		return nil, syntaxError(file, err)
	}
	var mistake error
	values := map[string]string{}
	for _, path := range meta.Keys() { // in the file's order, so that the first mistake is told
		key := path[0]
		value, err := valueOf(key, found[key], filepath.Dir(file), checks)
		if err == nil {
			values[Variable(key)] = value
		} else if mistake == nil {
			mistake = fault.At(place(file, data, key), err)
		}
	}
	return values, mistake
}

// valueOf gives the value of a key as the variable would have it.
func valueOf(key string, value any, dir string, checks Checks) (string, error) {
	as, known := keys[key]
	if !known {
		return "", fault.New(suggestion(key), "%q is no key of the configuration", key)
	}
	if err := othersHome(as, value); err != nil {
		return "", err
	}
	text, ok := written(as, value, dir)
	if !ok {
		return "", fault.New("write "+example(key, as), "%s is to be %s", key, as)
	}
	return text, checks.of(key, text)
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

// othersHome tells of a path that begins with ~ otherwise than by ~/, which would be a
// directory of that name.
func othersHome(as kind, value any) error {
	if list, ok := value.([]any); ok {
		for _, item := range list {
			if err := othersHome(as, item); err != nil {
				return err
			}
		}
	}
	text, _ := value.(string)
	isPath := as == path || as == paths || as == program && strings.Contains(text, "/")
	if isPath && strings.HasPrefix(text, "~") && !strings.HasPrefix(text, "~/") {
		return fault.New("write ~/… for your own home, ./~… for a name that begins so, or the whole path", "%q: only ~/ stands for a home", text)
	}
	return nil
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
