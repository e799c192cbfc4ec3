package transport

import (
	"reflect"

	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/pkg/blobinfocache/memory"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
)

// mountFrom lets the library look for a blob in one more repository, and mount it
// from there.
//
// The library considers no location of a blob whose compression it doesn't know,
// and takes word of that only from itself: the type of what
// RecordDigestCompressorData is told is internal to it. So the method is called by
// reflection. Nothing hangs on the value, for the digest is the same on both sides.
// Were the method not there, the blob would be sent.
func mountFrom(domain, repository string, d digest.Digest) types.BlobInfoCache {
	cache := memory.New()
	cache.RecordKnownLocation(docker.Transport, types.BICTransportScope{Opaque: domain}, d, types.BICLocationReference{Opaque: repository})
	record := reflect.ValueOf(cache).MethodByName("RecordDigestCompressorData")
	if !record.IsValid() || record.Type().NumIn() != 2 || record.Type().In(1).Kind() != reflect.Struct {
		return cache
	}
	data := reflect.New(record.Type().In(1)).Elem()
	if name := data.FieldByName("BaseVariantCompressor"); name.IsValid() && name.Kind() == reflect.String {
		name.SetString("uncompressed")
		record.Call([]reflect.Value{reflect.ValueOf(d), data})
	}
	return cache
}
