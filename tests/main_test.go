package tests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/builder-oci/builder/tests/rootfs"
)

// ground is what all tests of a run share.
var ground struct {
	binary string // bin/builder
	dir    string // private to this run, on a real disk, removed at its end
}

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests:", err)
		code = 1
	}
	os.Exit(code)
}

// run prepares the ground, runs all tests, and then looks whether anything of
// them is left on the machine.
func run(m *testing.M) (code int, err error) {
	if os.Getuid() == 0 {
		return 0, errors.New("builder is for unprivileged users, and so are its tests: run `make test-e2e`, which steps down from root")
	}
	cache, err := rootfs.CacheDir()
	if err != nil {
		return 0, err
	}
	// Unix sockets below it must fit into 108 bytes, so the name is short.
	ground.dir, err = os.MkdirTemp(cache, "t")
	if err != nil {
		return 0, err
	}
	if ground.binary, err = binary(ground.dir); err != nil {
		return 0, err
	}
	before, err := machine()
	if err != nil {
		return 0, err
	}

	code = m.Run()

	err = errors.Join(untilGone(before), removeTree(ground.dir))
	return code, err
}

// binary gives the binary to test, which `make` names; a bare `go test`
// compiles it.
func binary(dir string) (string, error) {
	if name := os.Getenv("BUILDER_TEST_BINARY"); name != "" {
		return name, nil
	}
	name := filepath.Join(dir, "builder")
	cmd := exec.Command("go", "build", "-o", name, "../cmd/builder")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return name, nil
}

// untilGone gives what the tests started a moment to end, and then reports
// what is still there and wasn't before.
func untilGone(before *snapshot) error {
	var err error
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var now *snapshot
		if now, err = machine(); err != nil {
			return err
		}
		if err = now.leftSince(before); err == nil {
			return nil
		}
	}
	return err
}

// removeTree removes a directory that may hold files of subordinate ids, by
// another tool than the one under test.
func removeTree(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--user", "--map-auto", "--map-root-user", "rm", "-rf", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}
