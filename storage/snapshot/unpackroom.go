package snapshot

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/builder-oci/builder/internal/room"
)

// likelyRatio is as many times its own size as a layer's blob unpacks to at most,
// unless it is made of zeros, which become holes and take no room.
const likelyRatio = 12

// hasRoomFor is an error where the layers' files won't fit on the disk. Where there is
// room for more than they are likely to be, none of them is looked at.
func (s *Store) hasRoomFor(layers []UnpackLayer) error {
	free, err := room.Free(s.home)
	if err != nil {
		return nil //nolint:nilerr // writing will show it
	}
	var blobs, need int64
	for _, l := range layers {
		blobs += min(max(l.Size, 0), math.MaxInt64/likelyRatio-blobs)
	}
	if blobs*likelyRatio <= free {
		return nil
	}
	for _, l := range layers {
		size, err := l.unpackedSize()
		if err != nil {
			return err
		}
		need += min(size, math.MaxInt64-need)
	}
	if err := s.HasRoomFor(need); err != nil {
		return fmt.Errorf("unpack %s: %w", layers[0].name(), err)
	}
	return nil
}

// unpackedSize is about how large the tar is: as gzip's end tells it, where that is
// likely, and no less than the blob.
func (l UnpackLayer) unpackedSize() (int64, error) {
	blob, err := l.Open()
	if err != nil {
		return 0, err
	}
	defer func() { _ = blob.Close() }()
	size := max(l.Size, 0)
	const header, trailer = 2, 4
	at, ok := blob.(io.ReaderAt)
	var start [header]byte
	var end [trailer]byte
	if !ok || size < header+trailer {
		return size, nil
	}
	if _, err := at.ReadAt(start[:], 0); err != nil || start != [header]byte{0x1f, 0x8b} {
		return size, nil //nolint:nilerr // unpacking will show it
	}
	if _, err := at.ReadAt(end[:], size-trailer); err != nil {
		return size, nil //nolint:nilerr // unpacking will show it
	}
	told := int64(binary.LittleEndian.Uint32(end[:])) // modulo 4 GiB
	if told > size*likelyRatio {
		return size, nil
	}
	return max(size, told), nil
}
