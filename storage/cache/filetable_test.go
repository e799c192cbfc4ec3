package cache

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"slices"
	"testing"
)

func TestTornMemoryIsEmpty(t *testing.T) {
	c := newCache(t)
	names := manyNames(3)
	f := filled(t, c, names)
	whole, err := os.ReadFile(f.path)
	must(t, err)
	for cut := range len(whole) {
		must(t, os.WriteFile(f.path, whole[:cut], 0o600))
		if n := holding(openFiles(t, c), names); n != 0 {
			t.Fatalf("of %d bytes of %d: %d entries", cut, len(whole), n)
		}
	}
	for at := range whole {
		flipped := append([]byte(nil), whole...)
		flipped[at] ^= 1
		must(t, os.WriteFile(f.path, flipped, 0o600))
		if n := holding(openFiles(t, c), names); n != 0 {
			t.Fatalf("byte %d is another: %d entries", at, n)
		}
	}
	must(t, os.WriteFile(f.path, whole, 0o600))
	if n := holding(openFiles(t, c), names); n != len(names) {
		t.Errorf("whole: %d entries", n)
	}
}

func TestTornBlockIsLostAlone(t *testing.T) {
	c := newCache(t)
	names := manyNames(2000)
	f := filled(t, c, names)
	blocks := f.saved.blocks
	if len(blocks) < 3 {
		t.Fatalf("%d blocks", len(blocks))
	}
	whole, err := os.ReadFile(f.path)
	must(t, err)
	whole[blocks[1].at+100] ^= 1
	must(t, os.WriteFile(f.path, whole, 0o600))
	want := len(names) - int(blocks[1].in)
	f = openFiles(t, c)
	if n := holding(f, names); n != want {
		t.Errorf("%d entries, not %d", n, want)
	}
	f.Put("new", stat(1), keyOf("content"))
	if n := holding(reopened(t, c, f), names); n != want {
		t.Errorf("%d entries, not %d, when it was written again", n, want)
	}
}

func TestIndexThatLiesIsTorn(t *testing.T) {
	c := newCache(t)
	f := filled(t, c, manyNames(3))
	whole, err := os.ReadFile(f.path)
	must(t, err)
	head := filesHeader + len("/context")
	at := int(binary.LittleEndian.Uint64(whole[len(whole)-filesTrailer:]))
	blocks, index := whole[head:at], whole[at:len(whole)-filesTrailer]
	lies := map[string]func(index []byte) []byte{
		"many entries":    func(index []byte) []byte { index[7] = 0x7f; return index },
		"a long block":    func(index []byte) []byte { index[0]++; return index },
		"a short block":   func(index []byte) []byte { index[0]--; return index },
		"a long path":     func(index []byte) []byte { index[12]++; return index },
		"half a block":    func(index []byte) []byte { return append(index, 1) },
		"a second block":  func(index []byte) []byte { return append(index, index...) },
		"nothing is told": func([]byte) []byte { return nil },
	}
	for name, lie := range lies {
		must(t, os.WriteFile(f.path, sealed(blocks, lie(slices.Clone(index)), uint64(at)), 0o600))
		if openFiles(t, c).saved != nil {
			t.Errorf("%s: taken for whole", name)
		}
	}
	must(t, os.WriteFile(f.path, sealed(blocks, index, uint64(at)), 0o600))
	if openFiles(t, c).saved == nil {
		t.Error("the truth is taken for torn")
	}
}

// FuzzFileTable opens tables whose checksums are right.
func FuzzFileTable(f *testing.F) {
	c := newCache(f)
	whole, err := os.ReadFile(filled(f, c, manyNames(3)).path)
	must(f, err)
	head := filesHeader + len("/context")
	index := int(binary.LittleEndian.Uint64(whole[len(whole)-filesTrailer:]))
	f.Add(whole[head:index], whole[index:len(whole)-filesTrailer], uint64(index))
	f.Add([]byte{}, []byte{}, uint64(head))
	f.Fuzz(func(t *testing.T, blocks, index []byte, at uint64) {
		c := newCache(t)
		f := openFiles(t, c)
		must(t, os.WriteFile(f.path, sealed(blocks, index, at), 0o600))
		f = openFiles(t, c)
		if f.saved == nil {
			return
		}
		known := 0
		for _, ref := range f.saved.blocks {
			f.Get(ref.first, stat(1))
		}
		must(t, merged(tableCursors([]*fileTable{f.saved}), func(e placedEntry) error {
			known++
			f.Get(e.path, stat(1))
			return nil
		}))
		f.Put("new", stat(1), keyOf("content"))
		f = reopened(t, c, f)
		if _, ok := f.Get("new", stat(1)); !ok && known == 0 {
			t.Error("what was added to nothing isn't known")
		}
	})
}

// sealed makes a table of its parts, with checksums.
func sealed(blocks, index []byte, at uint64) []byte {
	le := binary.LittleEndian
	index = slices.Clone(index)
	if len(index) >= indexFixed {
		first := blocks[:min(len(blocks), int(le.Uint32(index)))]
		le.PutUint32(index[8:], crc32.Checksum(first, castagnoli))
	}
	head := le.AppendUint16([]byte(filesMagic), uint16(len("/context")))
	head = append(head, "/context"...)
	tail := le.AppendUint64(nil, at)
	tail = le.AppendUint32(tail, endsCRC(head, index, tail))
	return slices.Concat(head, blocks, index, tail)
}
