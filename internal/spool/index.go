package spool

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"io"
	"os"
)

// Key is what an index finds a value by.
type Key [16]byte

// NumberKey gives the key of two numbers.
func NumberKey(a, b uint64) (k Key) {
	binary.LittleEndian.PutUint64(k[:8], a)
	binary.LittleEndian.PutUint64(k[8:], b)
	return k
}

const (
	// fewKeys is how many keys are kept in memory before a file is made.
	fewKeys = 1 << 13
	// bucketSize is what of the file is read at once.
	bucketSize  = 4 << 10
	slotSize    = len(Key{}) + 8
	bucketSlots = bucketSize / slotSize
)

// Index leads from keys to numbers. Keys whose second numbers are neighbours are
// found fastest one after the other. It isn't for several goroutines.
type Index struct {
	dir string
	few map[Key]uint64

	// file has, once it is made, buckets of slots: a key, and the number plus one
	// so that an empty slot is zero. A key is in the bucket that its hash names,
	// behind no empty slot.
	file    *os.File
	buckets uint64 // a power of two
	seed    maphash.Seed
	bucket  [bucketSize]byte // what was read last
	at      int64            // its number; none is -1
	changed bool             // it is yet to be written
}

// NewIndex gives an index without keys, which makes its file in dir.
func NewIndex(dir string) *Index { return &Index{dir: dir, few: map[Key]uint64{}} }

// Get gives a key's number, and says whether it has one.
func (x *Index) Get(k Key) (n uint64, ok bool, err error) {
	if x.file == nil {
		n, ok = x.few[k]
		return n, ok, nil
	}
	if err := x.read(x.bucketOf(k)); err != nil {
		return 0, false, err
	}
	slot, found := x.find(k)
	if !found {
		return 0, false, nil
	}
	return slot.number(), true, nil
}

// Set gives a key its number, which is less than the greatest there is.
func (x *Index) Set(k Key, n uint64) error {
	if x.file == nil {
		x.few[k] = n
		if len(x.few) <= fewKeys {
			return nil
		}
		return x.spill()
	}
	for {
		at := x.bucketOf(k)
		if err := x.read(at); err != nil {
			return err
		}
		if slot, _ := x.find(k); slot != nil {
			slot.set(k, n)
			x.changed = true
			return nil
		}
		if err := x.grow(); err != nil {
			return err
		}
	}
}

// Close gives everything back.
func (x *Index) Close() error {
	x.few = nil
	if x.file == nil {
		return nil
	}
	return x.file.Close()
}

// spill takes the keys out of memory.
func (x *Index) spill() (err error) {
	if x.file, err = Unnamed(x.dir); err != nil {
		return err
	}
	x.seed, x.buckets, x.at = maphash.MakeSeed(), 2*fewKeys/uint64(bucketSlots), -1
	for x.buckets&(x.buckets-1) != 0 {
		x.buckets++
	}
	few := x.few
	x.few = nil
	for k, n := range few {
		if err := x.Set(k, n); err != nil {
			return err
		}
	}
	return nil
}

// grow parts each bucket in two: what stays has a hash without the bit that the
// number of buckets gains.
func (x *Index) grow() error {
	added := x.buckets
	x.buckets *= 2
	var stay, move [bucketSize]byte
	for at := range added {
		if err := x.read(at); err != nil {
			return err
		}
		stay, move = [bucketSize]byte{}, [bucketSize]byte{}
		stays, moves := 0, 0
		for i := 0; i < bucketSlots && !x.slot(i).empty(); i++ {
			from := x.slot(i)
			if x.bucketOf(from.key()) == at {
				copy(stay[stays*slotSize:], from)
				stays++
			} else {
				copy(move[moves*slotSize:], from)
				moves++
			}
		}
		x.bucket = stay
		if err := x.write(at); err != nil {
			return err
		}
		x.bucket = move
		if err := x.write(at + added); err != nil {
			return err
		}
	}
	return nil
}

// bucketOf gives the bucket of a key, which is that of its neighbours.
func (x *Index) bucketOf(k Key) uint64 {
	k[8] &= 0xf8
	return maphash.Comparable(x.seed, k) & (x.buckets - 1)
}

// find gives a key's slot in the bucket that was read, or else the first empty
// one, or nil where it is full.
func (x *Index) find(k Key) (s slot, found bool) {
	for i := range bucketSlots {
		s := x.slot(i)
		if s.empty() {
			return s, false
		}
		if s.key() == k {
			return s, true
		}
	}
	return nil, false
}

func (x *Index) read(bucket uint64) error {
	if x.at == int64(bucket) {
		return nil
	}
	if x.changed {
		if err := x.write(uint64(x.at)); err != nil {
			return err
		}
	}
	x.at = -1
	n, err := x.file.ReadAt(x.bucket[:], int64(bucket)*bucketSize)
	clear(x.bucket[n:]) // beyond the end all are empty
	if err == nil || errors.Is(err, io.EOF) {
		x.at = int64(bucket)
		return nil
	}
	return err
}

func (x *Index) write(bucket uint64) error {
	x.at = int64(bucket)
	_, err := x.file.WriteAt(x.bucket[:], int64(bucket)*bucketSize)
	x.changed = err != nil
	return err
}

// slot is where a key and its number are.
type slot []byte

func (x *Index) slot(i int) slot { return x.bucket[i*slotSize : (i+1)*slotSize] }

func (s slot) key() Key       { return Key(s[:len(Key{})]) }
func (s slot) empty() bool    { return binary.LittleEndian.Uint64(s[len(Key{}):]) == 0 }
func (s slot) number() uint64 { return binary.LittleEndian.Uint64(s[len(Key{}):]) - 1 }

func (s slot) set(k Key, n uint64) {
	copy(s, k[:])
	binary.LittleEndian.PutUint64(s[len(Key{}):], n+1)
}
