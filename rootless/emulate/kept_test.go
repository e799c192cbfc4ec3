package emulate

import (
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A program may give owners to any number of links.
func TestOwnersOfLinksAreOutOfMemory(t *testing.T) {
	const links = 50_000
	before := heldMemory()
	s := New(Options{Mode: Emulate, Temp: t.TempDir()})
	s.mount, s.kept.any = 5, true
	at := func(n int) inode { return inode{dev: 3, ino: uint64(n)} }
	of := func(n int) kept {
		return kept{keptOwner{Owner: Owner{uint32(n), 7}, Mount: 5, Kind: unix.S_IFLNK}, fmt.Sprintf("a/directory/of/links/%d", n)}
	}
	for n := range links {
		if err := s.kept.set(at(n), of(n)); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := of(links)
	elsewhere.Mount = 6
	if err := s.kept.set(at(links), elsewhere); err != nil {
		t.Fatal(err)
	}
	s.kept.drop(at(1))
	for n := range links {
		if k, ok := s.kept.get(at(n)); ok != (n != 1) || ok && k != of(n) {
			t.Fatalf("%d has %+v, %v", n, k, ok)
		}
	}

	seen := s.Seen()
	got := make([]bool, links)
	if err := seen.Files.Each(func(f File) error {
		n := int(f.Inode)
		if n >= links || got[n] || f != (File{Path: of(n).path, Inode: f.Inode, Owner: of(n).Owner}) {
			t.Errorf("what was seen has %+v", f)
		}
		got[n] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for n := range links {
		if got[n] != (n != 1) {
			t.Fatalf("%d: %v", n, got[n])
		}
	}
	if held := heldMemory() - before; held > 2<<20 {
		t.Errorf("%d bytes are held", held)
	}
	if again := s.Seen(); again != nil {
		t.Errorf("what was given is given again: %+v", again)
	}
	if err := seen.Files.Close(); err != nil {
		t.Error(err)
	}
}

func heldMemory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
