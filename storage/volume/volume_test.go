package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/builder-oci/builder/internal/atomicfile"
)

func newStore(t *testing.T) *Store {
	t.Helper()
	dir := t.TempDir()
	return Open(filepath.Join(dir, "volumes"), filepath.Join(dir, "lock"))
}

func nobody() map[string][]string { return nil }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, s *Store, name string, labels map[string]string) Volume {
	t.Helper()
	v, err := s.Create(t.Context(), name, labels)
	must(t, err)
	return v
}

func names(t *testing.T, s *Store) string {
	t.Helper()
	all, err := s.List()
	must(t, err)
	var names []string
	for _, v := range all {
		names = append(names, v.Name)
	}
	return strings.Join(names, " ")
}

func TestAVolumeIsMadeOnce(t *testing.T) {
	s := newStore(t)
	if got := names(t, s); got != "" {
		t.Errorf("before the first: %q", got)
	}
	first := create(t, s, "data", map[string]string{"a": "1"})
	again := create(t, s, "data", map[string]string{"a": "2"})
	if again.Labels["a"] != "1" || !again.Created.Equal(first.Created) {
		t.Errorf("made again: %+v", again)
	}
	if st, err := os.Stat(s.Data("data")); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("its data: %v, %v", st, err)
	}
	if v := create(t, s, "", nil); len(v.Name) != 64 || !v.Anonymous() || first.Anonymous() {
		t.Errorf("without a name: %+v", v)
	}
}

func TestVolumesAreMadeAtOnce(t *testing.T) {
	s := newStore(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := s.Create(context.Background(), "data", nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if entries, err := os.ReadDir(s.dir); err != nil || len(entries) != 1 {
		t.Errorf("there is %v (%v)", entries, err)
	}
}

func TestNamesAreDockers(t *testing.T) {
	for name, want := range map[string]string{
		"a1": "", "A.b_c-d": "", strings.Repeat("x", 255): "",
		"a": "too short", "": "invalid characters", "a/b": "use absolute path", ".a": "invalid", "..": "invalid",
		"a b": "invalid", "a\nb": "invalid", strings.Repeat("x", 256): "too long",
	} {
		err := CheckName(name)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.20q: %v, want %q", name, err, want)
		}
	}
	s := newStore(t)
	if _, err := s.Get("../escape"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

func TestTornNotesLeaveAVolume(t *testing.T) {
	s := newStore(t)
	create(t, s, "data", map[string]string{"a": "1"})
	must(t, os.Truncate(filepath.Join(s.dir, "data", metaFile), 0))
	if v, err := s.Get("data"); err != nil || v.Name != "data" || time.Since(v.Created) > time.Hour {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestWhatContainersHaveStays(t *testing.T) {
	s := newStore(t)
	create(t, s, "data", nil)
	users := func() map[string][]string { return map[string][]string{"data": {"c1", "c2"}} }
	err := s.Remove(t.Context(), "data", users)
	if !errors.Is(err, ErrInUse) || err.Error() != "remove data: volume is in use - [c1, c2]" {
		t.Error(err)
	}
	must(t, s.Remove(t.Context(), "data", nobody))
	if err := s.Remove(t.Context(), "data", nobody); !errors.Is(err, ErrUnknown) || err.Error() != "get data: no such volume" {
		t.Error(err)
	}
	if left, err := os.ReadDir(s.dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v (%v)", left, err)
	}
}

func TestNothingIsRemovedWhileAContainerIsMade(t *testing.T) {
	s := newStore(t)
	create(t, s, "data", nil)
	held, err := s.Hold(t.Context())
	must(t, err)
	inUse := false
	removed := make(chan error)
	go func() {
		removed <- s.Remove(context.Background(), "data", func() map[string][]string {
			if inUse {
				return map[string][]string{"data": {"c1"}}
			}
			return nil
		})
	}()
	inUse = true // the container's configuration is written, and then:
	held.Unlock()
	if err := <-removed; !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
}

func TestPruneTakesWhatMatchesAndWhatIsLeftOver(t *testing.T) {
	s := newStore(t)
	kept, used := create(t, s, "kept", nil), create(t, s, "", nil)
	gone := create(t, s, "", nil)
	must(t, os.WriteFile(filepath.Join(s.Data(gone.Name), "file"), []byte("12345"), 0o600))
	must(t, os.MkdirAll(filepath.Join(s.dir, atomicfile.Prefix+"dead", "sub"), 0o700))
	users := func() map[string][]string { return map[string][]string{used.Name: {"c1"}} }
	removed, err := s.Prune(t.Context(), users, Volume.Anonymous, func(string) (int64, error) { return 5, nil })
	if err != nil || len(removed) != 1 || removed[0].Name != gone.Name || removed[0].Bytes != 5 {
		t.Errorf("removed %+v, %v", removed, err)
	}
	if entries, _ := os.ReadDir(s.dir); len(entries) != 2 || !strings.Contains(names(t, s), kept.Name) {
		t.Errorf("left: %v", entries)
	}
}

func TestVolumesOfContainersThatNeverWereGo(t *testing.T) {
	s := newStore(t)
	must(t, s.Sweep(nobody))
	var made [3]Volume
	for i := range made {
		var err error
		made[i], err = s.CreateFor(t.Context())
		must(t, err)
	}
	must(t, s.Made(made[0].Name)) // that container is gone again, and the volume stays
	create(t, s, "data", nil)
	held, err := s.Hold(t.Context())
	must(t, err)
	must(t, s.Sweep(nobody))
	if got := len(strings.Fields(names(t, s))); got != 4 {
		t.Errorf("while containers are made there are %d", got)
	}
	held.Unlock()
	users := func() map[string][]string { return map[string][]string{made[1].Name: {"c1"}} }
	for _, users := range []Users{users, nobody} { // what had a container once is none's any more
		must(t, s.Sweep(users))
		got := names(t, s)
		if len(strings.Fields(got)) != 3 || strings.Contains(got, made[2].Name) {
			t.Errorf("left: %s", got)
		}
	}
	again, err := s.CreateFor(t.Context())
	must(t, err)
	must(t, s.Remove(t.Context(), again.Name, nobody))
	if left, err := os.ReadDir(s.dir); err != nil || len(left) != 3 {
		t.Errorf("left: %v (%v)", left, err)
	}
}

func TestOnlyAnEmptyVolumeIsFilled(t *testing.T) {
	s := newStore(t)
	create(t, s, "data", nil)
	file := filepath.Join(s.Data("data"), "file")
	filled := 0
	fill := func(dir string) error {
		filled++
		return os.WriteFile(filepath.Join(dir, "file"), []byte("image's"), 0o600)
	}
	must(t, s.Ready(t.Context(), "data", nil))
	for range 2 {
		must(t, s.Ready(t.Context(), "data", fill))
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "image's" || filled != 1 {
		t.Errorf("%q, %v, filled %d times", text, err, filled)
	}
}

func TestAFillingThatWasCutShortIsDoneAgain(t *testing.T) {
	s := newStore(t)
	create(t, s, "data", nil)
	half := filepath.Join(s.Data("data"), "half")
	broken := errors.New("disk full")
	if err := s.Ready(t.Context(), "data", func(string) error {
		return errors.Join(os.WriteFile(half, nil, 0o600), broken)
	}); !errors.Is(err, broken) {
		t.Error(err)
	}
	if empty, err := isEmpty(s.Data("data")); !empty || err != nil {
		t.Errorf("after an error it isn't empty (%v)", err)
	}
	// As a killed container leaves it.
	must(t, os.WriteFile(half, nil, 0o600))
	must(t, os.WriteFile(filepath.Join(s.dir, "data", fillMarker), nil, 0o600))
	must(t, s.Ready(t.Context(), "data", nil))
	if empty, err := isEmpty(s.Data("data")); !empty || err != nil {
		t.Errorf("what a killed one filled in stays (%v)", err)
	}
}
