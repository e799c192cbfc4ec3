package places

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// suites are the Debians that clean.sh makes.
var suites = map[string]string{"bookworm": "Debian 12", "trixie": "Debian 13"}

// complete is what builder has to choose where nothing is missing.
var complete = choices{Isolation: "oci", Storage: "fuse-overlayfs", Mapping: "range", Network: "private"}

// missing are the packages that builder uses, and what becomes of it without.
var missing = []struct {
	name string
	want want
}{
	{"uidmap", want{
		choices: choices{Isolation: "oci", Storage: "fuse-overlayfs", Mapping: "single", Network: "private"},
		refused: map[string]string{"owners": `a single id.*apt-get install -y uidmap.*--emulate-ids`},
		doctor:  1,
	}},
	{"fuse-overlayfs", want{
		choices: choices{Isolation: "oci", Storage: "overlay", Mapping: "range", Network: "private"},
		doctor:  1,
	}},
	{"crun", want{
		choices: choices{Isolation: "chroot", Storage: "fuse-overlayfs", Mapping: "range", Network: "private"},
		doctor:  1,
	}},
	{"uidmap fuse-overlayfs crun passt", want{ // a machine as its installer left it
		choices: choices{Isolation: "chroot", Storage: "overlay", Mapping: "single", Network: "host"},
		refused: map[string]string{"owners": `a single id.*apt-get install -y uidmap.*--emulate-ids`},
		doctor:  1,
	}},
	{"passt", want{
		choices: choices{Isolation: "oci", Storage: "fuse-overlayfs", Mapping: "range", Network: "host"},
		doctor:  1,
	}},
}

// A complete machine, and one with each package left out in turn. Where one is,
// doctor gives the command that installs it, and after that nothing is missing.
func TestClean(t *testing.T) {
	for _, suite := range slices.Sorted(maps.Keys(suites)) {
		t.Run(suite, func(t *testing.T) {
			if testing.Short() && suite != "trixie" {
				t.Skip("one of them is quick")
			}
			want{choices: complete}.expect(t, suites[suite], clean(t, suite, "ann sh /probe.sh"))
			for _, m := range missing {
				t.Run("without "+m.name, func(t *testing.T) {
					testMissing(t, suite, m.name, m.want)
				})
			}
		})
	}
}

func testMissing(t *testing.T, suite, name string, expected want) {
	expected.says = append(expected.says, regexp.QuoteMeta("sudo apt-get install -y "+name))
	var flags []string
	for _, one := range strings.Fields(name) {
		flags = append(flags, "--without", one)
	}
	output := clean(t, suite, "ann sh /probe.sh", flags...)
	r := expected.expect(t, suites[suite]+" without "+name, output)

	if testing.Short() {
		return // installing isn't quick
	}
	remedy := strings.Join(r.doctor(t).Commands.Root, "\n")
	output = clean(t, suite, "apt-get update -q && sudo() { \"$@\"; }\n"+remedy+"\nann sh /probe.sh", flags...)
	want{choices: complete}.hold(t, output)
}

// clean runs a script as root on a clean Debian, which is made for it.
func clean(t *testing.T, suite, text string, flags ...string) string {
	t.Helper()
	probe, err := filepath.Abs("testdata/probe.sh")
	if err != nil {
		t.Fatal(err)
	}
	flags = append(flags, "--bind", probe+":/probe.sh", "--bind", ground.base+":/img.tar", suite, text)
	return script(t, 10*time.Minute, "clean.sh", flags...)
}
