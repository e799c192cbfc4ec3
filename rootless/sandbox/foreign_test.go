package sandbox

import (
	"debug/elf"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
)

// alien is the beginning of a program for a machine that nobody emulates.
func alien() []byte {
	h := make([]byte, 64)
	copy(h, elf.ELFMAG)
	h[elf.EI_CLASS], h[elf.EI_DATA], h[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	h[16], h[18] = byte(elf.ET_EXEC), byte(elf.EM_ST100)
	return h
}

func TestAProgramForAnotherMachineIsToldBeforehand(t *testing.T) {
	root := t.TempDir()
	for name, data := range map[string][]byte{
		"bin/alien": alien(), "bin/script": []byte("#!/bin/alien -x\n"), "bin/plain": []byte("#!/bin/none\n"), "elsewhere/tool": alien(),
	} {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("elsewhere", filepath.Join(root, "linked")); err != nil {
		t.Fatal(err)
	}
	bind := func(source, to string) []Mount {
		return []Mount{{Type: "bind", Source: source, Destination: to}}
	}
	for _, tc := range []struct {
		name   string
		args   string
		mounts []Mount
		told   bool
	}{
		{"by its path", "/bin/alien", nil, true},
		{"found in PATH", "alien", nil, true},
		{"a script's interpreter", "script", nil, true},
		{"through a link", "/linked/tool", nil, true},
		{"a script of builder's", "/in/script", bind(filepath.Join(root, "bin/script"), "/in/script"), true},
		{"under a mount", "/bin/alien", bind(root, "/bin"), false},
		{"under a mount that a link leads to", "/linked/tool", bind(root, "/elsewhere"), false},
		{"not there", "/bin/none", nil, false},
		{"a script whose interpreter isn't there", "plain", nil, false},
	} {
		s := Spec{RootFS: root, Args: []string{tc.args}, Env: []string{"PATH=/bin"}, Mounts: tc.mounts}
		failed := foreign(s)
		if (failed != nil) != tc.told {
			t.Errorf("%s: %+v", tc.name, failed)
			continue
		}
		if failed == nil {
			continue
		}
		err := failed.fault(Runtime{}, s)
		if fault.Code(err) != 126 || !strings.Contains(err.Error(), "is a program for EM_ST100") ||
			!strings.Contains(fault.Remedy(err), "qemu-user-static") || !strings.Contains(fault.Remedy(err), "$BUILDPLATFORM") {
			t.Errorf("%s: %v\n%s", tc.name, err, fault.Remedy(err))
		}
	}
}
