package cgroup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/godbus/dbus/v5"
)

func TestJobResult(t *testing.T) {
	const job = dbus.ObjectPath("/org/freedesktop/systemd1/job/7")
	removed := func(path dbus.ObjectPath, result string) *dbus.Signal {
		return &dbus.Signal{Name: "org.freedesktop.systemd1.Manager.JobRemoved", Body: []any{uint32(7), path, "x.scope", result}}
	}
	for _, tc := range []struct {
		name   string
		signal *dbus.Signal
		result string
		ours   bool
	}{
		{"done", removed(job, "done"), "done", true},
		{"failed", removed(job, "failed"), "failed", true},
		{"another job", removed("/org/freedesktop/systemd1/job/8", "done"), "done", false},
		{"another signal", &dbus.Signal{Name: "org.freedesktop.systemd1.Manager.UnitNew", Body: []any{"x.scope"}}, "", false},
		{"garbage", &dbus.Signal{Name: "org.freedesktop.systemd1.Manager.JobRemoved", Body: []any{"x"}}, "", false},
	} {
		if result, ours := jobResult(tc.signal, job); ours != tc.ours || ours && result != tc.result {
			t.Errorf("%s: %q %v", tc.name, result, ours)
		}
	}
}

// TestScopeIsAsSystemdTakesIt holds the request's form to the signature of
// StartTransientUnit.
func TestScopeIsAsSystemdTakesIt(t *testing.T) {
	sent := dbus.SignatureOf("name", "fail", []property{}, []auxiliary{})
	if want := "ssa(sv)a(sa(sv))"; sent.String() != want {
		t.Errorf("%s, want %s", sent, want)
	}
}

func TestNobodyIsInAScopeUnasked(t *testing.T) {
	if inOwnScope() || EndsAtLogout() {
		t.Error("this process has made no scope")
	}
	if _, err := os.Stat(filepath.Join(userSystemd(), "private")); err == nil {
		t.Skip("a systemd of the user runs")
	}
	if err := enterScope(t.Context()); err != errNoSystemd {
		t.Errorf("%v", err)
	}
}
