package storage

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/lock"
	"github.com/builder-oci/builder/storage/snapshot"
)

// actEnv makes the test binary act as a process of its own, on the store in
// rootEnv.
const (
	actEnv  = "STORAGE_TEST_ACT"
	rootEnv = "STORAGE_TEST_ROOT"
)

func TestMain(m *testing.M) {
	acts := map[string]func(root string) error{"die": actDie, "fill": actFill, "keep": actKeep}
	act, ok := acts[os.Getenv(actEnv)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := act(os.Getenv(rootEnv)); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func options(t *testing.T, root string) Options {
	return Options{Root: root, RunDir: filepath.Join(t.TempDir(), "run")}
}

func open(t *testing.T, root string) *Store {
	t.Helper()
	s, err := Open(context.Background(), options(t, root))
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestOpenMakesAStoreThatTellsWhatItIs(t *testing.T) {
	root := filepath.Join(t.TempDir(), "deep/store")
	s := open(t, root)
	st, err := os.Stat(root)
	must(t, err)
	if st.Mode().Perm() != 0o700 {
		t.Errorf("mode %v", st.Mode())
	}
	for name, part := range map[string]string{"version": "1\n", "README": "system reset", "images/oci-layout": "1.0.0", "images/index.json": "manifests"} {
		data, err := os.ReadFile(s.Dir(name))
		if err != nil || !strings.Contains(string(data), part) {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	images, err := s.Layout().List()
	if err != nil || len(images) != 0 {
		t.Errorf("images of a new store: %v, %v", images, err)
	}
	open(t, root)
}

func TestOpenCompletesAStoreWhoseMakingWasCutShort(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	must(t, open(t, root).Close())
	for _, lost := range []string{"version", "README", "cache/steps", "images/index.json"} {
		must(t, os.RemoveAll(filepath.Join(root, lost)))
	}
	open(t, root)
	if !exists(filepath.Join(root, "cache/steps")) || !exists(filepath.Join(root, "images/index.json")) {
		t.Error("not completed")
	}
}

// Archives of CI jobs keep images and records, and leave the rest out.
func TestOpenCompletesACopyOfAStore(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	must(t, open(t, root).Close())
	for _, name := range []string{locksDir, sessionsDir, containersDir, readmeFile} {
		must(t, os.RemoveAll(filepath.Join(root, name)))
	}
	open(t, root)
	for _, name := range []string{locksDir, sessionsDir, containersDir, readmeFile} {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestManyOpenANewStoreAtOnce(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	var all errgroup.Group
	for range 16 {
		o := options(t, root)
		all.Go(func() error {
			s, err := Open(context.Background(), o)
			if err != nil {
				return err
			}
			if _, err := s.Session(); err != nil {
				return err
			}
			return s.Close()
		})
	}
	must(t, all.Wait())
	names, err := os.ReadDir(filepath.Join(root, "sessions"))
	if err != nil || len(names) != 0 {
		t.Errorf("sessions left: %v, %v", names, err)
	}
}

func TestOpenRefusesWithARemedy(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, root string)
		noMake  bool
		want    string
	}{
		"no store": {
			prepare: func(*testing.T, string) {}, noMake: true, want: "no store",
		},
		"another version": {
			prepare: func(t *testing.T, root string) {
				must(t, open(t, root).Close())
				must(t, os.WriteFile(filepath.Join(root, "version"), []byte("2\n"), 0o600))
			}, want: `format "2"`,
		},
		"a directory of something else": {
			prepare: func(t *testing.T, root string) {
				must(t, os.MkdirAll(filepath.Join(root, "Documents"), 0o700))
			}, want: "holds Documents",
		},
		"a file": {
			prepare: func(t *testing.T, root string) { must(t, os.WriteFile(root, nil, 0o600)) }, want: "not a directory",
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "store")
			c.prepare(t, root)
			o := options(t, root)
			o.NoCreate = c.noMake
			_, err := Open(context.Background(), o)
			if err == nil || fault.Remedy(err) == "" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, remedy %q", err, fault.Remedy(err))
			}
			if c.noMake && !errors.Is(err, ErrNoStore) {
				t.Errorf("%v is not ErrNoStore", err)
			}
		})
	}
}

func TestOpenRefusesAStoreOfAnotherUser(t *testing.T) {
	root := "/usr"
	if os.Geteuid() == 0 {
		root = t.TempDir()
		must(t, os.Chown(root, 12345, 12345))
	}
	_, err := Open(context.Background(), options(t, root))
	if fault.Remedy(err) == "" || !strings.Contains(err.Error(), "belongs to uid") {
		t.Errorf("got %v", err)
	}
}

func TestDefaultPlaces(t *testing.T) {
	mine := t.TempDir()
	for name, c := range map[string]struct{ env, want string }{
		"told":     {RootEnv, mine},
		"XDG data": {"XDG_DATA_HOME", filepath.Join(mine, "builder")},
		"home":     {"HOME", filepath.Join(mine, ".local/share/builder")},
	} {
		t.Run(name, func(t *testing.T) {
			for _, env := range []string{RootEnv, "XDG_DATA_HOME", "HOME"} {
				t.Setenv(env, "")
			}
			t.Setenv(c.env, mine)
			if got, err := DefaultRoot(); err != nil || got != c.want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	t.Run("run-time directory", func(t *testing.T) {
		t.Setenv(RunDirEnv, "")
		t.Setenv("XDG_RUNTIME_DIR", mine)
		if got, err := DefaultRunDir(os.Geteuid()); err != nil || got != filepath.Join(mine, "builder") {
			t.Errorf("got %q, %v", got, err)
		}
		// After su or sudo the variable is another user's.
		if got, err := DefaultRunDir(os.Geteuid() + 1); err != nil || !strings.HasPrefix(got, "/tmp/builder-") {
			t.Errorf("of another user: got %q, %v", got, err)
		}
	})
}

func TestRunDirOfAnotherUserIsRefused(t *testing.T) {
	dir := "/tmp"
	if os.Geteuid() == 0 {
		dir = t.TempDir()
		must(t, os.Chown(dir, 12345, 12345))
	}
	_, err := Open(context.Background(), Options{Root: filepath.Join(t.TempDir(), "s"), RunDir: dir})
	if fault.Remedy(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestSessionEndsWithWhatItLeftUnsettled(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	s := open(t, root)
	session, err := s.Session()
	must(t, err)
	temp, err := session.TempDir()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(temp, "x"), nil, 0o600))
	fakeTree(t, s, "gone")
	fakeTree(t, s, "kept")
	must(t, session.Making(fakeRoot, "gone"))
	must(t, session.Making(fakeRoot, "kept"))
	session.Settled(fakeRoot, "kept")
	must(t, s.Close())
	names, err := os.ReadDir(s.Dir("sessions"))
	if err != nil || len(names) != 0 {
		t.Errorf("left: %v, %v", names, err)
	}
	if exists(treePath(s, "gone")) || !exists(treePath(s, "kept")) {
		t.Error("the wrong tree is gone")
	}
}

// fakeRoot is a driver root whose trees are plain directories.
const fakeRoot = "vfs-test"

func treePath(s *Store, id string) string {
	return snapshot.TreePath(s.Dir(snapshotsDir), fakeRoot, id)
}

func fakeTree(t *testing.T, s *Store, id string) {
	t.Helper()
	must(t, os.MkdirAll(treePath(s, id), 0o700))
}

// actDie leaves everything that a killed command can leave, and waits to be
// killed.
func actDie(root string) error {
	s, err := Open(context.Background(), Options{Root: root, RunDir: root + "-run"})
	if err != nil {
		return err
	}
	session, err := s.Session()
	if err != nil {
		return err
	}
	temp, err := session.TempDir()
	if err != nil {
		return err
	}
	key := digest.FromString("committed")
	record := fmt.Sprintf(`{"key":%q,"trees":{%q:{"id":"committed"}}}`, key, fakeRoot)
	blob, err := s.Layout().NewBlobWriter(session.ID)
	if err != nil {
		return err
	}
	_, blobErr := blob.Write([]byte("half"))
	if err := errors.Join(
		os.WriteFile(filepath.Join(temp, "x"), nil, 0o600), blobErr,
		os.MkdirAll(treePath(s, "half"), 0o700), os.MkdirAll(treePath(s, "committed"), 0o700),
		os.MkdirAll(treePath(s, "unrecorded"), 0o700),
		session.Making(fakeRoot, "half"), session.Making(fakeRoot, "committed"), session.Making(fakeRoot, "unrecorded"),
		session.Committing(fakeRoot, "unrecorded", digest.FromString("never")),
		session.Committing(fakeRoot, "committed", key),
		os.WriteFile(s.Records().Path(key), []byte(record), 0o600),
	); err != nil {
		return err
	}
	fmt.Println(session.ID)
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}

// start runs an act in a process of its own, and gives the first line that it
// prints.
func start(t *testing.T, act, root string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), actEnv+"="+act, rootEnv+"="+root)
	_, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	return cmd, strings.TrimSpace(line)
}

func TestSweepRemovesWhatAKilledCommandLeft(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	s := open(t, root)
	must(t, os.WriteFile(s.Dir("locks/cleaned"), nil, 0o600)) // no image needs the recorded tree
	cmd, id := start(t, "die", root)
	rubbish := func() []string {
		blobs, err := filepath.Glob(s.Dir("images/blobs/sha256/.tmp-*"))
		must(t, err)
		left := append(blobs, treePath(s, "half"), treePath(s, "unrecorded"),
			s.Dir("sessions/"+id), s.Dir("sessions/"+id+".d"))
		return left
	}
	must(t, s.Sweep(context.Background(), true))
	for _, path := range rubbish() {
		if !exists(path) {
			t.Errorf("%s was taken from a living command", path)
		}
	}

	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	must(t, s.Sweep(context.Background(), false))
	if !exists(s.Dir("sessions/"+id)) || !exists(treePath(s, "half")) {
		t.Error("outside the namespace trees can't be removed, and the session must stay")
	}
	left := rubbish()
	must(t, s.Sweep(context.Background(), true))
	for _, path := range left {
		if exists(path) {
			t.Errorf("%s is still there", path)
		}
	}
	if !exists(treePath(s, "committed")) {
		t.Error("a recorded tree was removed")
	}
}

func TestSweepRemovesASessionThatNeverBegan(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store"))
	aside := s.Dir("sessions/.tmp-0123")
	must(t, os.WriteFile(aside, nil, 0o600))
	must(t, s.Sweep(context.Background(), false))
	if exists(aside) {
		t.Error("still there")
	}
}

func TestWhatCannotBeCleanedUpIsAWarning(t *testing.T) {
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	s := open(t, filepath.Join(t.TempDir(), "store"))
	must(t, os.WriteFile(s.Dir("locks/freed"), []byte("x\n"), 0o600))
	must(t, os.WriteFile(s.Dir("images/index.json"), []byte("{"), 0o600))
	stuck := s.Dir("sessions/0123.d/tmp/stuck/file")
	must(t, os.MkdirAll(stuck, 0o700))
	must(t, os.WriteFile(s.Dir("sessions/0123"), nil, 0o600))
	must(t, os.Chmod(filepath.Dir(stuck), 0))

	must(t, s.Sweep(context.Background(), true))
	if told := "images/index.json is damaged"; !strings.Contains(log.String(), told) {
		t.Errorf("no warning with %q: %s", told, &log)
	}
	if exists(filepath.Dir(stuck)) {
		t.Error("a directory that its owner may not enter is still there")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Sweep(ctx, true); !errors.Is(err, context.Canceled) {
		t.Errorf("ended by its caller: %v", err)
	}
}

func TestResetRemovesAStoreOnly(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	root := filepath.Join(dir, "store")
	s := open(t, root)
	if err := Reset(ctx, root); fault.Remedy(err) == "" || !strings.Contains(err.Error(), "in use") {
		t.Errorf("of a store in use: %v", err)
	}
	must(t, s.Close())
	fakeTree(t, s, "x")
	must(t, Reset(ctx, root))
	if exists(root) {
		t.Error("still there")
	}
	if err := Reset(ctx, root); !errors.Is(err, ErrNoStore) {
		t.Errorf("of no store: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "README"), []byte("mine"), 0o600))
	if err := Reset(ctx, dir); fault.Remedy(err) == "" || !exists(filepath.Join(dir, "README")) {
		t.Errorf("of something else: %v", err)
	}
	open(t, root)
}

func TestResetTakesAStoreOfAnotherVersion(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	must(t, open(t, root).Close())
	must(t, os.WriteFile(filepath.Join(root, "version"), []byte("99\n"), 0o600))
	must(t, Reset(context.Background(), root))
	if exists(root) {
		t.Error("still there")
	}
}

// A command may wait for the store lock while the store is being removed.
func TestOpenMakesANewStoreWhereTheOldOneWasRemoved(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	must(t, open(t, root).Close())
	l, ok, err := lock.TryExclusive(filepath.Join(root, storeLock))
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	o := options(t, root)
	opened := make(chan error)
	go func() {
		s, err := Open(context.Background(), o)
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	must(t, os.RemoveAll(root))
	l.Unlock()
	must(t, <-opened)
	if !exists(filepath.Join(root, "version")) {
		t.Error("no store")
	}
}

func TestExplainTellsWhatToDoAboutTheDisk(t *testing.T) {
	for _, cause := range []error{unix.ENOSPC, unix.EDQUOT, unix.EROFS} {
		err := Explain(t.TempDir(), fmt.Errorf("write: %w", &fs.PathError{Op: "write", Path: "x", Err: cause}))
		if fault.Remedy(err) == "" || !errors.Is(err, cause) {
			t.Errorf("%v: got %v", cause, err)
		}
	}
	if err := Explain("/", fs.ErrExist); err != fs.ErrExist {
		t.Errorf("got %v", err)
	}
}

func TestAStoreThatCannotBeMadeIsToBeElsewhere(t *testing.T) {
	for err, want := range map[error]string{
		&fs.PathError{Op: "mkdir", Path: "/nonexistent", Err: unix.EACCES}: "choose another store with --root",
		&fs.PathError{Op: "mkdir", Path: "/proc/x", Err: unix.ENOENT}:      "choose another store with --root",
		&fs.PathError{Op: "stat", Path: "/root/x", Err: unix.EACCES}:       "choose another store with --root",
		fault.New("mend it", "it is broken: %w", unix.EACCES):              "mend it",
		context.Canceled: "",
	} {
		got := elsewhere(err)
		if got.Error() != err.Error() || !errors.Is(got, err) || fault.Remedy(got) != want {
			t.Errorf("%v: got %v, remedy %q", err, got, fault.Remedy(got))
		}
	}
}

// actFill opens a store on a file system with hardly any room, and says what
// comes of it.
func actFill(root string) error {
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=16k,nr_inodes=20"); err != nil {
		return err
	}
	s, err := Open(context.Background(), Options{Root: filepath.Join(root, "store"), RunDir: filepath.Join(root, "run")})
	if err == nil {
		_, err = s.Session()
	}
	fmt.Println(err, "-", fault.Remedy(err))
	return nil
}

func TestFullDiskIsToldAsSuch(t *testing.T) {
	cmd := exec.Command("unshare", "--user", "--map-root-user", "--mount", "--", os.Args[0])
	cmd.Env = append(os.Environ(), actEnv+"=fill", rootEnv+"="+t.TempDir())
	out, err := cmd.CombinedOutput()
	must(t, err)
	if !strings.Contains(string(out), "disk full at") || !strings.Contains(string(out), "--root") {
		t.Errorf("got %s", out)
	}
}
