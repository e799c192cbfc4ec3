package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// flavors are all drivers that layers must be the same under.
var flavors = []Flavor{Overlay, Fuse, VFS}

// base is what the steps below start from.
const base = `
	umask 022
	mkdir -p etc root usr/bin usr/share/doc srv/data/deep tmp var/lib keep
	chmod 700 root; chmod 1777 tmp; chown 33:33 srv
	echo root > root/x; echo host > etc/hosts; echo passwd > etc/passwd
	echo tool > usr/bin/tool; chmod 4755 usr/bin/tool; chown 7:8 usr/bin/tool
	ln usr/bin/tool usr/bin/tool2
	echo one > srv/data/h1; ln srv/data/h1 srv/data/h2; ln srv/data/h1 srv/data/deep/h3
	ln -s usr/bin bin; ln -s ../etc/hosts srv/link
	mkfifo srv/pipe; chown 5:6 srv/pipe
	echo a > srv/data/a; echo b > srv/data/b; echo c > srv/data/deep/c; echo d > keep/d
	find . -depth -print0 | xargs -0 touch -h -d '2001-02-03 04:05:06.5'
`

// steps are shell scripts, run in a tree's root, and what must then stand in
// the layer, one line an entry as listing writes it.
var steps = []struct {
	name, script string
	want         string
}{
	{"nothing happens", "true", ""},
	{"a file is written in place", "echo changed >> etc/hosts", "i etc/\nf etc/hosts\n"},
	{"a new file moves its directory's time", "echo new > etc/new", "d etc/\nf etc/new\n"},
	{"the same content, another time", "touch -d 2002-01-01 etc/passwd", "i etc/\nf etc/passwd\n"},
	{"copied up and put back is no change", "cp -p etc/passwd /tmp/.$$; echo x >> etc/passwd; cat /tmp/.$$ > etc/passwd; touch -r /tmp/.$$ etc/passwd; rm /tmp/.$$", ""},
	{"the same size in the same second", "printf PASSWD > etc/passwd; printf 'passwd' | dd of=etc/passwd conv=notrunc status=none; printf P | dd of=etc/passwd conv=notrunc status=none; echo >> etc/passwd; touch -d '2001-02-03 04:05:06' etc/passwd", "i etc/\nf etc/passwd\n"},
	{"mode and back", "chmod 600 etc/passwd; chmod 644 etc/passwd", ""},
	{"another mode", "chmod 600 etc/passwd", "i etc/\nf etc/passwd\n"},
	{"another owner of a tree", "chown -R 65535:3 keep etc", "d etc/\nf etc/hosts\nf etc/passwd\nd keep/\nf keep/d\n"},
	{"owner of a link", "chown -h 9:9 srv/link", "i srv/\nl srv/link -> ../etc/hosts\n"},
	{"a file is deleted", "rm etc/passwd", "d etc/\nw etc/passwd\n"},
	{"a directory is deleted", "rm -r srv/data", "d srv/\nw srv/data\n"},
	{"made and deleted", "mkdir srv/x; echo x > srv/x/y; rm -r srv/x; touch -d '2001-02-03 04:05:06' srv", ""},
	{"a directory is replaced by another", "rm -r srv/data; mkdir -p srv/data/new; echo a > srv/data/a; echo z > srv/data/z", "i srv/\nd srv/data/\nf srv/data/a\nw srv/data/b\nw srv/data/deep\nw srv/data/h1\nw srv/data/h2\nd srv/data/new/\nf srv/data/z\n"},
	{"a directory in a replaced one", "rm -r srv/data; mkdir -p srv/data/deep; echo n > srv/data/deep/n", "i srv/\nd srv/data/\nw srv/data/a\nw srv/data/b\nd srv/data/deep/\nw srv/data/deep/c\nw srv/data/deep/h3\nf srv/data/deep/n\nw srv/data/h1\nw srv/data/h2\n"},
	{"below a replaced directory nothing is left", "rm -r usr; mkdir -p usr/share/doc", "d usr/\nw usr/bin\n"},
	{"a directory is replaced by the same", "cp -a srv/data /tmp/s$$; rm -r srv/data; cp -a /tmp/s$$ srv/data; rm -r /tmp/s$$; touch -d '2001-02-03 04:05:06' srv", ""},
	{"a directory becomes a file", "rm -r srv/data; echo data > srv/data", "i srv/\nf srv/data\n"},
	{"a file becomes a directory", "rm etc/passwd; mkdir etc/passwd; echo x > etc/passwd/x", "i etc/\nd etc/passwd/\nf etc/passwd/x\n"},
	{"a link becomes a directory", "rm bin; mkdir bin; echo x > bin/x", "d bin/\nf bin/x\n"},
	{"a directory becomes a link", "rm -r keep; ln -s srv keep", "l keep -> srv\n"},
	{"a new name for an old file", "ln etc/passwd etc/shadow", "d etc/\nf etc/shadow\n"},
	{"new hard links", "echo l > etc/l1; ln etc/l1 etc/l2; ln etc/l1 usr/l3", "d etc/\nf etc/l1\nh etc/l2 -> etc/l1\nd usr/\nh usr/l3 -> etc/l1\n"},
	{"renamed in its directory", "mv etc/passwd etc/group", "d etc/\nf etc/group\nw etc/passwd\n"},
	{"a directory is renamed", "mv keep etc/kept", "d etc/\nd etc/kept/\nf etc/kept/d\nw keep\n"},
	{"a directory's time is set", "touch -d 2000-01-01 srv/data; touch -d 2040-01-01 keep; touch etc", "d keep/\ni srv/\nd srv/data/\n"},
	{"mode of the root", "chmod 711 .", "d /\n"},
	{"time of the root", "mkdir gone; rmdir gone", ""},
	{"attributes", "setfattr -n user.mime -v text etc/passwd; setfattr -n user.d -v 1 srv/data", "i etc/\nf etc/passwd user.mime\ni srv/\nd srv/data/ user.d\n"},
	{"a capability", "cp usr/bin/tool usr/bin/ping; setcap cap_net_raw+ep usr/bin/ping", "i usr/\nd usr/bin/\nf usr/bin/ping security.capability\n"},
	{"special files", "mkfifo srv/pipe2; ln -s nowhere srv/dangling; perl -MSocket -e 'socket(S,AF_UNIX,SOCK_STREAM,0); bind(S, sockaddr_un(\"srv/sock\"))'", "d srv/\nl srv/dangling -> nowhere\np srv/pipe2\n"},
	{"a socket in a file's place", "rm etc/passwd; perl -MSocket -e 'socket(S,AF_UNIX,SOCK_STREAM,0); bind(S, sockaddr_un(\"etc/passwd\"))'", "d etc/\nw etc/passwd\n"},
	{"old, future and far times", "touch -d 1969-12-31T23:59:58Z etc/old; touch -d 2040-01-01T00:00:00Z etc/late", "d etc/\nf etc/late\nf etc/old\n"},
	{"names", "touch \"etc/$(printf 'not\\377utf8')\" 'etc/with space' \"etc/$(printf 'new\\nline')\" etc/$(printf 'x%.0s' $(seq 200))", "d etc/\nf etc/new\nline\nf etc/not\xffutf8\nf etc/with space\nf etc/" + strings.Repeat("x", 200) + "\n"},
	{"sticky, setuid and setgid", "mkdir s; chmod 3777 s; cp usr/bin/tool s/t; chmod 6711 s/t", "d s/\nf s/t\n"},
}

func TestLayersAreTheSameUnderAllDrivers(t *testing.T) {
	for _, step := range steps {
		t.Run(strings.ReplaceAll(step.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			var first []byte
			for _, flavor := range flavors {
				s := newStack(t, flavor)
				s.run(shell(t, base))
				layer := s.run(shell(t, step.script))
				if list := listing(t, layer); list != step.want {
					t.Errorf("%s: the layer has\n%swant\n%s", flavor, list, step.want)
				}
				got := packed(t, layer, TimeRule{Mode: TimeClamp, Epoch: 1e9 + 5e8})
				if first == nil {
					first = got
				} else if !bytes.Equal(first, got) {
					t.Errorf("%s: other bytes than under %s:\n%s", flavor, flavors[0], difference(first, got))
				}
			}
		})
	}
}

// TestSetTimesCountWithoutTimesOfBirth works on a file system that keeps none.
func TestSetTimesCountWithoutTimesOfBirth(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mount("ramfs", dir, "ramfs", 0, "mode=755"))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	var x unix.Statx_t
	must(t, unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_BTIME, &x))
	if x.Mask&unix.STATX_BTIME != 0 {
		t.Skip("ramfs keeps times of birth here")
	}
	shell(t, `umask 022; mkdir -p lower/set lower/same lower/late lower/moved; touch -d 2001-01-01 lower/*
		mkdir -p upper/set upper/same upper/late upper/moved
		touch -d 2000-01-01 upper/set; touch -d 2001-01-01 upper/same; touch -d 2040-01-01 upper/late`)(dir)
	got := listing(t, Upper(dir+"/upper", NewTree([]string{dir + "/lower"}), UpperOptions{Flavor: Overlay, ExactOwners: true}))
	if got != "d late/\nd set/\n" {
		t.Errorf("the layer has\n%s", got)
	}
}

// shell runs a script in the root of a tree.
func shell(t *testing.T, script string) func(string) {
	return func(root string) {
		t.Helper()
		cmd := exec.Command("/bin/sh", "-ec", script)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
	}
}

// listing writes entries a line each: type, path, target, attributes. The types
// are tar's in letters, w for whiteouts and i for implied directories.
func listing(t *testing.T, src Source) string {
	t.Helper()
	var b strings.Builder
	must(t, src.Walk(context.Background(), func(e *Entry) error {
		kind := "w"
		switch {
		case e.Implied:
			kind = "i"
		case !e.Whiteout:
			kind = string("fhlcbdp"[e.Type-'0'])
		}
		b.WriteString(kind + " " + e.Path)
		if e.Type == TypeDir {
			b.WriteString("/")
		}
		if e.Linkname != "" {
			b.WriteString(" -> " + e.Linkname)
		}
		for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
			b.WriteString(" " + name)
		}
		b.WriteString("\n")
		return nil
	}))
	return b.String()
}

// difference shows two tars' headers.
func difference(a, b []byte) string {
	var out strings.Builder
	for _, data := range [][]byte{a, b} {
		r := tar.NewReader(bytes.NewReader(data))
		for h, err := r.Next(); err == nil; h, err = r.Next() {
			fmt.Fprintf(&out, "%c %04o %d:%d %8d %d %s %s %v\n", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Size, h.ModTime.Unix(), h.Name, h.Linkname, h.PAXRecords)
		}
		out.WriteString("--\n")
	}
	return out.String()
}
