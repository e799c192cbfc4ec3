package settings

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
)

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// unset has the variables of all keys unset, and the test's changes undone.
func unset(t *testing.T) {
	t.Helper()
	for _, key := range Keys() {
		t.Setenv(Variable(key), "")
		if err := os.Unsetenv(Variable(key)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVariablesWinOverTheUsersFileAndThatOverTheMachines(t *testing.T) {
	unset(t)
	t.Setenv("BUILDER_ISOLATION", "oci")
	user := write(t, "isolation = \"chroot\"\nruntime = \"runc\"\nemulate-ids = true\nca = [\"/a.pem\", \"b.pem\"]\n")
	machine := write(t, "runtime = \"crun\"\nstorage-driver = \"vfs\"\n")
	if err := Load(nil, user, machine, filepath.Join(t.TempDir(), "none"), ""); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"BUILDER_ISOLATION": "oci", "BUILDER_RUNTIME": "runc", "BUILDER_STORAGE_DRIVER": "vfs",
		"BUILDER_EMULATE_IDS": "true", "BUILDER_CA": "/a.pem:" + filepath.Join(filepath.Dir(user), "b.pem"),
	} {
		if got := os.Getenv(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestAnEmptyVariableCountsAsUnset(t *testing.T) {
	unset(t)
	t.Setenv("BUILDER_ISOLATION", "")
	t.Setenv("BUILDER_EMULATE_IDS", "")
	if err := Load(nil, write(t, "isolation = \"chroot\"\n")); err != nil {
		t.Fatal(err)
	}
	if got := os.Getenv("BUILDER_ISOLATION"); got != "chroot" {
		t.Errorf("BUILDER_ISOLATION: %q, want the file's", got)
	}
	if _, set := os.LookupEnv("BUILDER_EMULATE_IDS"); set {
		t.Error("BUILDER_EMULATE_IDS is still set")
	}
}

func TestAMistakeInAVariableIsToldByItsName(t *testing.T) {
	checks := Checks{"isolation": func(string) error { return fault.New("choose another", "no such level") }}
	for _, tc := range []struct{ variable, value, cause, remedy string }{
		{"BUILDER_ISOLATION", "jail", "BUILDER_ISOLATION: no such level", "choose another"},
		{"BUILDER_EMULATE_IDS", "yes", `BUILDER_EMULATE_IDS: "yes" is neither true nor false`, "write BUILDER_EMULATE_IDS=true"},
	} {
		unset(t)
		t.Setenv(tc.variable, tc.value)
		err := Load(checks, write(t, "runtime = \"runc\"\n"))
		if err == nil || !strings.HasPrefix(err.Error(), tc.cause) || fault.Remedy(err) != tc.remedy {
			t.Errorf("%v; remedy %q", err, fault.Remedy(err))
		}
		if _, set := os.LookupEnv(tc.variable); set || os.Getenv("BUILDER_RUNTIME") != "runc" {
			t.Errorf("%s is still set, or what is right doesn't count", tc.variable)
		}
	}
}

func TestOfSeveralMistakesTheFirstIsTold(t *testing.T) {
	unset(t)
	err := Load(nil, write(t, "zeal = 1\nruntime = \"runc\"\na.b = 1\nemulate-ids = 1\n"))
	if err == nil || !strings.Contains(err.Error(), `:1: "zeal"`) {
		t.Error(err)
	}
	unset(t)
	err = Load(nil, write(t, "a.b = 1\nemulate-ids = 1\n"))
	if err == nil || !strings.Contains(err.Error(), `"a" is no key`) {
		t.Error(err)
	}
}

func TestPathsAreRelativeToTheirFile(t *testing.T) {
	unset(t)
	t.Setenv("HOME", "/home/jane")
	file := write(t, "root = \"~/store\"\nruntime = \"bin/crun\"\nca = \"a.pem\"\n")
	if err := Load(nil, file); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"BUILDER_ROOT": "/home/jane/store", "BUILDER_RUNTIME": filepath.Join(filepath.Dir(file), "bin/crun"),
		"BUILDER_CA": filepath.Join(filepath.Dir(file), "a.pem"),
	} {
		if got := os.Getenv(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestAValueThatMakesNoSenseIsToldWithItsLine(t *testing.T) {
	unset(t)
	checks := Checks{"isolation": func(value string) error { return fault.New("choose another", "no %s here", value) }}
	err := Load(checks, write(t, "runtime = \"runc\"\nisolation = \"jail\"\n"))
	if err == nil || !strings.Contains(err.Error(), "config.toml:2: no jail here") || fault.Remedy(err) != "choose another" {
		t.Errorf("%v; remedy %q", err, fault.Remedy(err))
	}
}

func TestMistakesAreToldWithTheirLine(t *testing.T) {
	for _, tc := range []struct{ text, cause, remedy string }{
		{"runtime = \"runc\"\nstorage_driver = \"vfs\"\n", `:2: "storage_driver" is no key`, "did you mean storage-driver?"},
		{"\n\n[isolation]\nlevel = \"oci\"\n", ":3: isolation is to be text", "isolation ="},
		{"emulate-ids = \"yes\"\n", ":1: emulate-ids is to be true or false", "emulate-ids = true"},
		{"ca = [1]\n", ":1: ca is to be a list of files", "ca = ["},
		{"network = \"none\"\nroot = \"~other/x\"\n", `:2: "~other/x": only ~/ stands for a home`, "write ~/…"},
		{"root = \"~\"\n", `:1: "~": only ~/`, "write ~/…"},
		{"runtime = \"~other/crun\"\n", `:1: "~other/crun": only ~/`, "write ~/…"},
		{"ca = [\"a.pem\", \"~other/b.pem\"]\n", `:1: "~other/b.pem": only ~/`, "write ~/…"},
		{"root = /var\n", ":1: ", "storage-driver ="},
	} {
		unset(t)
		err := Load(nil, write(t, tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.cause) || !strings.Contains(fault.Remedy(err), tc.remedy) {
			t.Errorf("%q: %v; remedy %q", tc.text, err, fault.Remedy(err))
		}
	}
}

func TestWhatIsNoSmallFileIsAnErrorAtOnce(t *testing.T) {
	dir := t.TempDir()
	pipe, huge := filepath.Join(dir, "pipe"), filepath.Join(dir, "huge")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 1<<40); err != nil {
		t.Fatal(err)
	}
	for file, cause := range map[string]string{pipe: "no regular file", huge: "is larger than 1 MiB", dir: "no regular file"} {
		if err := Load(nil, file); err == nil || !strings.Contains(err.Error(), cause) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
