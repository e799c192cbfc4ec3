package stage

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"io"
	"iter"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/spool"
	"github.com/builder-oci/builder/storage/cache"
)

// differing gives the inputs of a former step and of a job. Of the files, of which
// there may be very many, it gives the first that differ, and counts all.
func (r *Runner) differing(former digest.Digest, j *job) (old, now []cache.Input, files int, err error) {
	t := &fileTally{seed: maphash.MakeSeed(), lines: spool.New(r.Settings.StateDir)}
	defer func() { err = errors.Join(err, t.lines.Close()) }()
	was := func(yield func(cache.Input)) error { return r.Cache.EachInput(former, yield) }
	is := func(yield func(cache.Input)) error { each(j.allInputs, yield); return nil }
	if now, err = t.note(is, isNow); err != nil {
		return nil, nil, 0, err
	}
	if old, err = t.note(was, wasThen); err != nil {
		return nil, nil, 0, err
	}
	if err = t.compare(); err != nil || t.changed == 0 {
		return old, now, 0, err
	}
	if err = is(t.adding(&now)); err != nil {
		return nil, nil, 0, err
	}
	return old, now, t.changed, was(t.adding(&old))
}

func each(inputs iter.Seq[cache.Input], fn func(cache.Input)) {
	for in := range inputs {
		fn(in)
	}
}

// fileTally finds the files in which two lists of inputs differ, without either
// of them in memory.
type fileTally struct {
	seed    maphash.Seed
	targets targetList // of mounts that show files
	lines   *spool.Spool
	noted   int
	changed int
	// first are some that differ: the first ones of all, in the order of rank, and
	// the first of each target.
	first    [maxFiles]talliedFile
	ofTarget map[uint16]talliedFile
}

// talliedLine is what is noted of a file in one of the lists.
type talliedLine struct {
	name, value uint64 // hashes
	rank        uint64 // its place: first those that are now
	target      uint16 // of the mount that shows it, from 1 on; 0 where none does
}

const (
	isNow   = 0
	wasThen = 1 << 63
)

const talliedSize = 3*8 + 2

// talliedAtOnce is how many files are compared at once.
const talliedAtOnce = 1 << 16

// talliedFile is what is said of a file in both lists.
type talliedFile struct {
	name   uint64
	sums   [2]uint64 // of the values' hashes, now and then
	known  bool
	rank   uint64
	target uint16
}

// note takes the files of a list down, and gives its other inputs.
func (t *fileTally) note(list func(func(cache.Input)) error, rank uint64) (others []cache.Input, err error) {
	var failed error
	line := make([]byte, 0, talliedSize)
	err = list(func(in cache.Input) {
		t.targets = append(t.targets, mountTargets([]cache.Input{in})...)
		target, ok := t.ofFile(in)
		if !ok {
			others = append(others, in)
			return
		}
		rank++
		t.noted++
		l := talliedLine{maphash.String(t.seed, in.Name), maphash.String(t.seed, in.Value), rank, target}
		if _, err := t.lines.Write(l.append(line)); failed == nil {
			failed = err
		}
	})
	return others, errors.Join(err, failed)
}

// ofFile says whether an input tells of a file, and by which mount's target.
func (t *fileTally) ofFile(in cache.Input) (target uint16, ok bool) {
	if strings.HasPrefix(in.Name, "file:") {
		return 0, true
	}
	rest, ok := strings.CutPrefix(in.Name, mountedInput)
	if !ok || len(t.targets) > 1<<16-2 {
		return 0, false
	}
	shown, path := t.targets.part(rest)
	for i, known := range t.targets {
		if path != "" && known == shown {
			return uint16(i + 1), true
		}
	}
	return 0, false
}

func (l talliedLine) append(buf []byte) []byte {
	le := binary.LittleEndian
	buf = le.AppendUint64(le.AppendUint64(le.AppendUint64(buf, l.name), l.value), l.rank)
	return le.AppendUint16(buf, l.target)
}

// compare counts the files that differ: those of a part of all names in each turn.
func (t *fileTally) compare() error {
	t.ofTarget = map[uint16]talliedFile{}
	turns := uint64(t.noted/talliedAtOnce + 1)
	for turn := range turns {
		files := map[uint64]*talliedFile{}
		err := t.each(func(l talliedLine) {
			if l.name%turns != turn {
				return
			}
			f, ok := files[l.name]
			if !ok {
				f = &talliedFile{name: l.name, known: true, rank: l.rank, target: l.target}
				files[l.name] = f
			}
			f.sums[l.rank>>63] += l.value
		})
		if err != nil {
			return err
		}
		for _, f := range files {
			if f.sums[0] != f.sums[1] {
				t.changed++
				t.choose(*f)
			}
		}
	}
	return nil
}

// each reads the lines.
func (t *fileTally) each(fn func(talliedLine)) error {
	in := bufio.NewReaderSize(t.lines.Reader(), 64<<10)
	var b [talliedSize]byte
	le := binary.LittleEndian
	for range t.noted {
		if _, err := io.ReadFull(in, b[:]); err != nil {
			return err
		}
		fn(talliedLine{le.Uint64(b[:]), le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint16(b[24:])})
	}
	return nil
}

// choose keeps a file if it is one of the first.
func (t *fileTally) choose(f talliedFile) {
	if known := t.ofTarget[f.target]; !known.known || f.rank < known.rank {
		t.ofTarget[f.target] = f
	}
	for i, other := range t.first {
		if !other.known || f.rank < other.rank {
			t.first[i], f = f, other
		}
		if !f.known {
			return
		}
	}
}

// adding gives what adds to a list the inputs of the files that were chosen.
func (t *fileTally) adding(list *[]cache.Input) func(cache.Input) {
	chosen := map[uint64]bool{}
	for _, f := range t.first {
		chosen[f.name] = f.known
	}
	for _, f := range t.ofTarget {
		chosen[f.name] = true
	}
	return func(in cache.Input) {
		if _, ok := t.ofFile(in); ok && chosen[maphash.String(t.seed, in.Name)] {
			*list = append(*list, in)
		}
	}
}
