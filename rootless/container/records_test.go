package container

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDamagedRecordsLoseNoContainer(t *testing.T) {
	for name, damage := range map[string]func(own string) error{
		"empty state":   func(own string) error { return os.Truncate(filepath.Join(own, stateFile), 0) },
		"no state":      func(own string) error { return os.Remove(filepath.Join(own, stateFile)) },
		"empty config":  func(own string) error { return os.Truncate(filepath.Join(own, configFile), 0) },
		"half a config": func(own string) error { return os.Truncate(filepath.Join(own, configFile), 40) },
		"no lock":       func(own string) error { return os.Remove(filepath.Join(own, lockFile)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "containers")
			id, other := dead(t, dir, false, true), dead(t, dir, false, true)
			if err := damage(filepath.Join(dir, id)); err != nil {
				t.Fatal(err)
			}
			if err := Sweep(dir, withNothing); err != nil {
				t.Error(err)
			}
			if list := List(dir); len(list) != 2 {
				t.Fatalf("listed: %+v", list)
			}
			c, s, err := Find(dir, id[:12])
			if err != nil || c.ID != id || s.Status != StatusDead {
				t.Errorf("found: %+v, %+v, %v", c, s, err)
			}
			if told := name == "no lock" || strings.Contains(s.Error, "json"); !told {
				t.Errorf("not told what is damaged: %q", s.Error)
			}
			if c, _, err := Find(dir, other[:12]); err != nil || c.ID != other {
				t.Errorf("another one: %+v, %v", c, err)
			}
			m, err := Open(t.Context(), dir, id)
			if err == nil {
				err = m.Remove()
			}
			if list := List(dir); err != nil || len(list) != 1 {
				t.Errorf("removed: %v; left %+v", err, list)
			}
		})
	}
}

func TestARecordThatIsGoingIsNotDamaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "containers")
	id := dead(t, dir, false, true)
	for _, name := range []string{configFile, stateFile} { // as removeDir does
		if err := os.Remove(filepath.Join(dir, id, name)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Find(dir, id); !errors.Is(err, ErrUnknown) || len(Damaged(dir)) != 0 {
			t.Errorf("without its %s: %v, %+v", name, err, Damaged(dir))
		}
	}
}
