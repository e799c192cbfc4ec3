package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Errors of FindLog.
var (
	ErrAmbiguous = errors.New("more than one step has an id that begins so")
	ErrNoOutput  = errors.New("the step has no output")
)

// FindLog opens the output of the step whose key begins with the digits, or of
// an execution that failed, whose log has a name that does. It is ErrNotFound
// where there is no such step, and ErrNoOutput where it runs no command. The
// caller closes the file.
func (c *Cache) FindLog(digits string) (*os.File, error) {
	names, err := startingWith(filepath.Join(c.dir, stepsDir), digits)
	if err != nil {
		return nil, err
	}
	var found []*Step
	for _, name := range names {
		step, err := c.Step(Key("sha256:" + name))
		if err == nil && step.Result != "" {
			found = append(found, step)
		}
	}
	switch {
	case len(found) > 1:
		return nil, fmt.Errorf("%s: %w", digits, ErrAmbiguous)
	case len(found) == 1 && found[0].Log == "":
		return nil, fmt.Errorf("%s: %w", found[0].Instruction, ErrNoOutput)
	case len(found) == 1:
		return openLog(c.LogPath(found[0]))
	}
	logs, err := startingWith(filepath.Join(c.dir, logsDir), digits)
	switch {
	case err != nil:
		return nil, err
	case len(logs) > 1:
		return nil, fmt.Errorf("%s: %w", digits, ErrAmbiguous)
	case len(logs) == 0:
		return nil, fmt.Errorf("%s: %w", digits, ErrNotFound)
	}
	return openLog(filepath.Join(c.dir, logsDir, logs[0]))
}

func openLog(path string) (*os.File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("its log is gone: %w", ErrNotFound)
	}
	return f, err
}

// startingWith gives the names in a directory that begin with prefix; none where
// that is no hexadecimal number.
func startingWith(dir, prefix string) ([]string, error) {
	if prefix == "" || strings.Trim(prefix, "0123456789abcdef") != "" {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, ignoreAbsent(err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
