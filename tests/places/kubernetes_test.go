package places

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/executor.sh
var executor string

// Each example of a pod builds what docs/kubernetes.md says of it, and refuses the
// rest in words that lead there.
func TestKubernetesExamples(t *testing.T) {
	login := filepath.Join(ground.dir, "login")
	if err := os.Mkdir(login, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(login, "config.json"), []byte(`{"auths":{"registry.example.com":{"auth":"cm9ib3Q6c2VjcmV0"}}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]struct {
		run, proc, setuid string // words of a refusal; "" where it works
		info              string
		code              int    // doctor's
		says              string // of what it says, without line ends
	}{
		"1-restricted.yaml": {
			run: `nothing can be run here, only instructions other than RUN work: .*^ +hostUsers: false`, proc: `nothing can be run here`,
			info: `stacked.*none`, code: 2, says: `user namespaces are forbidden: the seccomp filter of this container denies them.*no_new_privs is set for this process`,
		},
		"2-user-namespace.yaml": {info: `overlay.*Isolation: +oci$.*65536 ids`, code: 1, says: `/dev/fuse can't be opened in this container`},
		"3-unconfined.yaml":     {info: `overlay.*Isolation: +oci, without a pid namespace$.*range, 65535 ids`, code: 1, says: `no fresh /proc can be mounted here`},
		"4-chroot.yaml":         {proc: `exit code 1`, info: `vfs.*Isolation: +chroot`, code: 1, says: `chroot: no namespace and no /proc`},
	} {
		t.Run(file, func(t *testing.T) {
			out, err := exec.Command(os.Getenv("BUILDER_PODFLAGS"), "../../examples/kubernetes/"+file, "1001", login).CombinedOutput()
			if err != nil {
				t.Fatalf("podflags: %v: %s", err, out)
			}
			flags := append(strings.Fields(string(out)), "--mount="+ground.base+":/img.tar", "--", "sh", "-c", executor)
			said := script(t, 10*time.Minute, "pod.sh", flags...)
			r := parseResults(said)
			for step, words := range map[string]string{"base": "", "login": "", "copy": "", "run": want.run, "proc": want.proc} {
				got, done := r[step]
				switch {
				case !done:
					t.Errorf("%s wasn't tried", step)
				case (words == "") != (got.code == 0) || !matches(words, got.output):
					t.Errorf("%s ended with %d, not with %q", step, got.code, words)
				}
			}
			if got := r["doctor"]; got.code != want.code || !matches(want.says, strings.Join(strings.Fields(got.output), " ")) {
				t.Errorf("doctor ended with %d, not with %d and %q", got.code, want.code, want.says)
			}
			if !matches(want.info, r["info"].output) {
				t.Errorf("builder info isn't as %q", want.info)
			}
			if t.Failed() {
				t.Log(said)
			}
		})
	}
}
