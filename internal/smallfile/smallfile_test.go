package smallfile

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestOnlySmallRegularFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	pipe, huge, good := filepath.Join(dir, "pipe"), filepath.Join(dir, "huge"), filepath.Join(dir, "good")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, size := range map[string]int64{huge: 1 << 40, good: Max} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
	for path, cause := range map[string]string{pipe: "no regular file", dir: "no regular file", huge: "is larger than 1 MiB"} {
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), cause) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if data, err := Read(good); err != nil || len(data) != Max {
		t.Error(len(data), err)
	}
}
