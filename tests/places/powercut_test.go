package places

import (
	"strings"
	"testing"
	"time"
)

// twoBuilds has what the power cut falls into: a build that was just told to be
// done, and one in the middle of a RUN.
const twoBuilds = `
mkdir -p ~/cut/context && cd ~/cut && echo hello >context/file
cat >done <<'END'
FROM base
COPY file /file
RUN head -c 3000000 /dev/urandom >/made && sha256sum /made >/sum
END
cat >cut <<'END'
FROM base
RUN head -c 3000000 /dev/urandom >/first
RUN touch /begun && sleep 1000
END
sync # our own files; what builder syncs is its business
builder import /img.tar base
builder bud -q -t cut -f cut context >cut.log 2>&1 &
until pgrep -u ann -x sleep >/dev/null; do sleep 0.2; done
builder bud -q -t done -f done context && echo it is done
sleep 1000
`

// afterCut looks at what is there: the image that was reported is whole, the other
// isn't there, what both left is no hindrance, and every blob of an image is what its
// name says. (One that no image names yet may be short: it wasn't synced, and is
// written again.)
const afterCut = `
set -e
cd ~/cut
builder run --rm done sh -c 'sha256sum -c /sum'
if builder image inspect cut >/dev/null 2>&1; then echo an image that was never finished is there; exit 1; fi
sed -i s/1000/0/ cut
builder bud -q -t cut -f cut context
builder run --rm cut test -e /begun
builder system check
mkdir whole && builder save base done cut | tar -x -C whole
cd whole/blobs/sha256
for blob in *; do echo "$blob  $blob"; done | sha256sum -c --quiet
cd
builder system prune --force --all >/dev/null
test -z "$(ls ~/.local/share/builder/sessions)"
echo all is well
`

// The power goes in the middle of a build, and a moment after another.
func testPowerCut(t *testing.T, m *machine) {
	m.ann(t, "builder system reset --force")
	reported := make(chan bool, 1)
	go func() { reported <- m.until(t, "ann", twoBuilds, "it is done") }()
	select {
	case ok := <-reported:
		if !ok {
			t.Fatal("the builds ended early")
		}
	case <-time.After(10 * time.Minute):
		t.Fatal("the builds didn't begin")
	}
	m.cut(t)
	m.boot(t)
	if r := m.ann(t, afterCut); !strings.HasSuffix(r.output, "all is well") {
		t.Errorf("exit code %d:\n%s", r.code, r.output)
	}
}
