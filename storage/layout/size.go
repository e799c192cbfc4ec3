package layout

import (
	"encoding/binary"
	"io"
	"strconv"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// unpackedSize is what the layers take unpacked, as far as it can be told
// without reading them.
func (l *Layout) unpackedSize(manifest v1.Descriptor, m *v1.Manifest) int64 {
	if size, err := strconv.ParseInt(manifest.Annotations[annotationSize], 10, 64); err == nil {
		return size
	}
	return l.sizeOf(m.Layers)
}

func (l *Layout) sizeOf(layers []v1.Descriptor) int64 {
	var sum int64
	for _, layer := range layers {
		sum += l.layerSize(layer)
	}
	return max(sum, 0) // a stranger's sizes may add up to anything
}

// layerSizes is the unpacked size of each layer, or "" where the blobs tell them
// all.
func (l *Layout) layerSizes(layers []v1.Descriptor) string {
	texts := make([]string, len(layers))
	told := true
	for i, layer := range layers {
		size := l.layerSize(layer)
		texts[i] = strconv.FormatInt(size, 10)
		told = told && size == l.sizeInBlob(layer)
	}
	if told {
		return ""
	}
	return strings.Join(texts, " ")
}

// UnpackedSize is what a layer takes unpacked, as far as it can be told without
// reading it. Of a layer of Manifest's that is all that is known.
func (l *Layout) UnpackedSize(layer v1.Descriptor) int64 { return l.layerSize(layer) }

// layerSize is the unpacked size of a layer where its descriptor or its blob tells
// it, else its compressed size.
func (l *Layout) layerSize(layer v1.Descriptor) int64 {
	if size, err := strconv.ParseInt(layer.Annotations[UncompressedSize], 10, 64); err == nil {
		return size
	}
	return l.sizeInBlob(layer)
}

// sizeInBlob is what the last four bytes of a gzip stream tell, else the
// compressed size.
func (l *Layout) sizeInBlob(layer v1.Descriptor) int64 {
	if !strings.HasSuffix(layer.MediaType, "gzip") {
		return layer.Size
	}
	f, err := l.OpenBlob(layer)
	if err != nil {
		return layer.Size
	}
	defer f.Close()
	var trailer [4]byte
	if _, err := f.Seek(-int64(len(trailer)), io.SeekEnd); err != nil {
		return layer.Size
	}
	if _, err := io.ReadFull(f, trailer[:]); err != nil {
		return layer.Size
	}
	return gzipSize(layer.Size, binary.LittleEndian.Uint32(trailer[:]))
}

// gzipSize is what a gzip stream of so many bytes takes unpacked, whose trailer
// has the size modulo 4 GiB (RFC 1952 section 2.3.1). Deflate can't make a stream
// noticeably larger than its content. A trailer that says so is that of the last
// of several streams, and is not believed; or of a layer beyond 4 GiB, as is
// likely where that is no unlikely compression.
func gzipSize(packed int64, trailer uint32) int64 {
	const (
		wrap = 1 << 32
		// likely is a compression that layers hardly exceed.
		likely = 20
	)
	size := int64(trailer)
	least := packed - packed/1000 - 64
	if size >= least {
		return size
	}
	for size < least {
		size += wrap
	}
	if trailer == 0 || size > likely*packed {
		return packed
	}
	return size
}
