package stage

import (
	"archive/tar"
	"strings"
	"testing"

	"github.com/builder-oci/builder/storage/layer"
)

func TestModesAfterChmod(t *testing.T) {
	for _, tc := range []struct {
		chmod string
		typ   byte
		mode  int64
		want  int64
	}{
		{"755", tar.TypeReg, 0o600, 0o755},
		{"4750", tar.TypeReg, 0o600, 0o4750},
		{"0", tar.TypeDir, 0o755, 0},
		{"755", tar.TypeSymlink, 0o777, 0o777},
		{"u=rwX,go=rX", tar.TypeReg, 0o600, 0o644},
		{"u=rwX,go=rX", tar.TypeReg, 0o700, 0o755},
		{"u=rwX,go=rX", tar.TypeDir, 0o1700, 0o1755},
		{"+x", tar.TypeReg, 0o644, 0o755},
		{"go-w", tar.TypeReg, 0o666, 0o644},
		{"g=u", tar.TypeReg, 0o640, 0o660},
		{"u+s,g+s,+t", tar.TypeReg, 0o755, 0o7755},
		{"a-s", tar.TypeReg, 0o6755, 0o755},
		{"go=", tar.TypeSymlink, 0o777, 0o777},
	} {
		m, err := parseMode(tc.chmod)
		if err != nil {
			t.Errorf("%s: %v", tc.chmod, err)
			continue
		}
		e := &layer.Entry{Type: tc.typ, Mode: tc.mode}
		m.apply(e)
		if e.Mode != tc.want {
			t.Errorf("%s of %c %04o is %04o, want %04o", tc.chmod, tc.typ, tc.mode, e.Mode, tc.want)
		}
	}
}

func TestWhatIsNoMode(t *testing.T) {
	for chmod, want := range map[string]string{
		"888": "no octal mode", "10000": "no octal mode", "-1": "no octal mode", "u": "no mode", "rwx": "no mode", "u+q": "no mode", "u=rw,": "no mode",
	} {
		if _, err := parseMode(chmod); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", chmod, err, want)
		}
	}
}
