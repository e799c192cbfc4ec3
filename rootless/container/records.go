package container

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/atomicfile"
)

// Load reads what is known of a container in the directory dir of all
// containers. One that has no monitor though it should is dead, and so is one whose
// records can't be read: see Config.Damage.
func Load(dir, id string) (Config, State, error) {
	var c Config
	var s State
	own := filepath.Join(dir, id)
	switch err := readRecord(filepath.Join(own, configFile), &c); {
	case isDamaged(err):
		c = Config{ID: id, Damage: err.Error()}
	case err != nil:
		return c, s, err
	}
	stateErr := readRecord(filepath.Join(own, stateFile), &s)
	switch {
	case isDamaged(stateErr), isMissing(stateErr) && !isGoing(own):
		s = State{Status: StatusRunning, Damage: stateErr.Error()}
	case stateErr != nil:
		return c, s, stateErr
	}
	if s.Lives() && !hasMonitor(own) {
		s.Status, s.ExitCode, s.Error = StatusDead, 128+int(unix.SIGKILL), "the monitor was killed"
	}
	if damage := cmp.Or(c.Damage, s.Damage); damage != "" {
		s.Error = damage
	}
	return c, s, nil
}

// damagedError tells that a record is there which isn't whole: a power cut or a full
// disk has cut it off, or somebody has written to it.
type damagedError struct{ error }

// readRecord reads what writeJSON has written.
func readRecord(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return damagedError{fmt.Errorf("%s is damaged: %w", path, err)}
	}
	return nil
}

func isDamaged(err error) bool {
	var damaged damagedError
	return errors.As(err, &damaged)
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// isGoing tells whether a container in whose directory something is missing is
// being removed, which begins with its config.
func isGoing(own string) bool {
	_, err := os.Lstat(filepath.Join(own, configFile))
	return err != nil
}

// hasMonitor tells whether somebody has a container's lock. One that has lost that
// file has lost its monitor, too.
func hasMonitor(own string) bool {
	lock, err := lockDir(own)
	if err == nil {
		_ = lock.Close()
		return false
	}
	return !isMissing(err) || isGoing(own)
}

func writeJSON(path string, v any, synced bool) error {
	data, err := encode(v)
	if err != nil {
		return err
	}
	write := atomicfile.WriteUnsynced
	if synced {
		write = atomicfile.Write
	}
	return write(path, data, 0o600)
}

// overJSON writes over a record, in the room that it has. What is cut off meanwhile
// is a damaged one.
func overJSON(path string, v any) (err error) {
	data, err := encode(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	// White space in place of what was there keeps it whole all the time.
	rest := max(0, info.Size()-int64(len(data)))
	if _, err := f.WriteAt(append(data, bytes.Repeat([]byte("\n"), int(rest))...), 0); err != nil {
		return err
	}
	return f.Sync()
}

func encode(v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	return append(data, '\n'), err
}
