package storage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/owner"
)

// Environment variables that place the store and its run-time directory. A
// process that enters a user namespace sets both for its inner self, which
// sees another uid.
const (
	RootEnv   = "BUILDER_ROOT"
	RunDirEnv = "BUILDER_RUNDIR"
)

// ContainersDir is where containers have their directories, in the store at root.
func ContainersDir(root string) string { return filepath.Join(root, containersDir) }

// DefaultRoot gives the store's directory: $BUILDER_ROOT,
// $XDG_DATA_HOME/builder or ~/.local/share/builder.
func DefaultRoot() (string, error) {
	if dir := os.Getenv(RootEnv); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "builder"), nil
	}
	home := os.Getenv("HOME")
	if home == "" {
		u, err := user.Current()
		if err != nil || u.HomeDir == "" {
			return "", fault.New("set HOME, or say where with --root", "no home directory to keep the store in")
		}
		home = u.HomeDir
	}
	return filepath.Join(home, ".local/share/builder"), nil
}

// DefaultRunDir gives the run-time directory of uid: $BUILDER_RUNDIR,
// $XDG_RUNTIME_DIR/builder if that belongs to uid, or one under /tmp.
func DefaultRunDir(uid int) (string, error) {
	if dir := os.Getenv(RunDirEnv); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) && ownedBy(dir, uid) {
		return filepath.Join(dir, "builder"), nil
	}
	// Not os.TempDir: every command has to find the same one.
	return "/tmp/builder-" + strconv.Itoa(uid), nil
}

// OpenRunDir makes the caller's run-time directory, where there is none yet.
func OpenRunDir() (string, error) {
	dir, err := DefaultRunDir(os.Geteuid())
	if err != nil {
		return "", err
	}
	return dir, Explain(dir, makeRunDir(dir))
}

// Explain puts what the user can do about a failing disk into err, which
// befell something at or below path. Other errors it returns as they are.
func Explain(path string, err error) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	switch {
	case errors.Is(err, unix.ENOSPC):
		return &fault.Error{
			Err:    fmt.Errorf("disk full at %s%s: %w", path, freeSpace(path), err),
			Remedy: "free space there, or choose another store with --root",
		}
	case errors.Is(err, unix.EDQUOT):
		return &fault.Error{
			Err:    fmt.Errorf("disk quota exceeded at %s: %w", path, err),
			Remedy: "free space there, or choose another store with --root",
		}
	case errors.Is(err, unix.EROFS):
		return &fault.Error{
			Err:    fmt.Errorf("%s is on a read-only file system: %w", path, err),
			Remedy: "choose another store with --root",
		}
	}
	return err
}

// elsewhere puts the way out into err, which befell the store's directory itself,
// where nobody else knows one: a place that is shut, or in which none can be made.
func elsewhere(err error) error {
	var known *fault.Error
	var at *fs.PathError
	if errors.As(err, &known) {
		return err
	}
	if errors.Is(err, fs.ErrPermission) || errors.As(err, &at) && at.Op == "mkdir" {
		return fault.New("choose another store with --root", "%w", err)
	}
	return err
}

// freeSpace says how much the file system of path has left, as far as it can
// be told. It may be inodes that are missing.
func freeSpace(path string) string {
	var st unix.Statfs_t
	for unix.Statfs(path, &st) != nil {
		parent := filepath.Dir(path)
		if parent == path {
			return ""
		}
		path = parent
	}
	if st.Files > 0 && st.Ffree == 0 {
		return " (no inodes free)"
	}
	return fmt.Sprintf(" (%d MiB free)", st.Bavail*uint64(st.Bsize)>>20)
}

func (o Options) places() (root, runDir string, err error) {
	if root = o.Root; root == "" {
		root, err = DefaultRoot()
	} else {
		root, err = filepath.Abs(root)
	}
	if err != nil {
		return "", "", err
	}
	if runDir = o.RunDir; runDir == "" {
		runDir, err = DefaultRunDir(os.Geteuid())
	}
	return root, runDir, err
}

// makeRunDir makes the run-time directory. Under /tmp somebody else may have
// made one of that name first.
func makeRunDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if uid, _ := owner.IDs(); !ownedBy(dir, uid) {
		return fault.New("set "+RunDirEnv+" to a directory of your own",
			"the run-time directory %s belongs to another user", dir)
	}
	return nil
}

// ownedBy reports whether dir is a directory, not a link to one, of uid.
func ownedBy(dir string, uid int) bool {
	st, err := os.Lstat(dir)
	return err == nil && st.IsDir() && int(st.Sys().(*syscall.Stat_t).Uid) == uid
}

// shortHash tells the run-time files of several stores apart.
func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}
