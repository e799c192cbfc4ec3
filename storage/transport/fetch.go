package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"reflect"
	"time"

	"github.com/containers/image/v5/pkg/blobinfocache/none"
	"github.com/containers/image/v5/types"
	v2 "github.com/docker/distribution/registry/api/v2"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

const (
	copyBuffer = 256 << 10
	// comesFurther is how many bytes make a new beginning of a transfer that
	// breaks again and again.
	comesFurther = 1 << 20
	// mostAnew is how often a blob is begun anew of which something had come.
	mostAnew = 3
	// leastPace is how many bytes have to come while a registry's silence is
	// borne.
	leastPace = 16 << 10
)

// errContent is behind the error of a blob that isn't what its descriptor says.
var errContent = errors.New("the registry gives something else")

// fetching is one blob on its way into the layout.
type fetching struct {
	*pull
	told    *reporter
	blob    v1.Descriptor
	writer  *layout.BlobWriter
	sum     digest.Digester
	resumed bool // what there is of it came by several answers
	anew    int  // how often it was begun again
}

// fetch brings a blob, and tells of its way. Where a connection breaks it goes on
// from there.
func (p *pull) fetch(ctx context.Context, d v1.Descriptor, told *reporter) (err error) {
	f := &fetching{pull: p, told: told, blob: d}
	if err := f.begin(); err != nil {
		return err
	}
	if err := f.all(ctx); err != nil {
		return errors.Join(err, f.writer.Cancel())
	}
	if err := f.writer.Commit(d.Digest); err != nil {
		return err
	}
	p.fetched(d.Digest)
	told.tell(Event{Kind: Done, Digest: d.Digest, Size: d.Size, Offset: d.Size})
	return nil
}

// begin makes the blob an empty one.
func (f *fetching) begin() (err error) {
	f.resumed = false
	f.sum = digest.SHA256.Digester()
	f.writer, err = f.layout.NewBlobWriter(f.options.Session)
	return err
}

// again throws away what has been fetched, for the error why.
func (f *fetching) again(why error) error {
	if f.anew++; f.anew > mostAnew {
		return why
	}
	if err := f.writer.Cancel(); err != nil {
		return err
	}
	return f.begin()
}

// all fetches all of the blob, however often that takes.
func (f *fetching) all(ctx context.Context) error {
	pause := f.pause
	for try := 1; ; try++ {
		from := f.writer.Size()
		err := f.watched(ctx, f.more)
		if err == nil {
			return nil
		}
		if f.writer.Size() >= from+comesFurther {
			try, pause = 1, f.pause
		}
		most := tries
		switch {
		case errors.Is(err, errSilent):
			most = silentTries
		case errors.Is(err, errContent) && f.resumed:
			// Parts of two answers needn't belong together.
			if err := f.again(err); err != nil {
				return err
			}
		case !isTemporary(err) && !isAway(err):
			return err
		}
		if try >= most || ctx.Err() != nil {
			return err
		}
		if err := f.wait(ctx, f.blob.Digest, err, pause); err != nil {
			return err
		}
		pause *= 2
	}
}

// more fetches what is missing of the blob, and checks it.
func (f *fetching) more(ctx context.Context, w *watch) error {
	ctx, cancel := context.WithCancel(ctx)
	stream, promised, err := f.open(ctx)
	if err != nil {
		cancel()
		return err
	}
	defer stream.Close()
	defer cancel() // first: the library reads to the end what is closed early
	f.told.tell(Event{Kind: Started, Digest: f.blob.Digest, Size: f.blob.Size, Offset: f.writer.Size()})
	r := &progressReader{reporter: f.told, from: stream, blob: f.blob, offset: f.writer.Size(), paced: func() { w.expect(w.within) }}
	// One byte more than promised shows that there is too much.
	_, err = io.CopyBuffer(io.MultiWriter(f.writer, f.sum.Hash()), io.LimitReader(r, f.blob.Size-f.writer.Size()+1), make([]byte, copyBuffer))
	if err != nil {
		return err
	}
	return f.check(promised)
}

// check compares what has come with the descriptor. promised is what the answer
// said of its length, -1 for nothing.
func (f *fetching) check(promised int64) error {
	got := f.writer.Size()
	switch {
	case got < f.blob.Size && got != promised:
		return fmt.Errorf("%d of %d bytes: %w", got, f.blob.Size, io.ErrUnexpectedEOF)
	case got != f.blob.Size:
		many := fmt.Sprint(got)
		if got > f.blob.Size {
			many = "more"
		}
		return fmt.Errorf("%w: %s bytes instead of the %d that its manifest tells of", errContent, many, f.blob.Size)
	case f.sum.Digest() != f.blob.Digest:
		return fmt.Errorf("%w: its content has the digest %s", errContent, f.sum.Digest())
	}
	return nil
}

// open asks for the blob, or for the rest of it.
func (f *fetching) open(ctx context.Context) (stream io.ReadCloser, promised int64, err error) {
	d := f.blob
	info := types.BlobInfo{Digest: d.Digest, Size: d.Size, URLs: d.URLs, MediaType: d.MediaType}
	if offset := f.writer.Size(); offset > 0 {
		stream, err = rest(ctx, f.source, info, offset)
		if err == nil {
			f.resumed = true
			return stream, -1, nil
		}
		if isTemporary(err) || isAway(err) || ctx.Err() != nil {
			return nil, 0, err
		}
		if err := f.again(err); err != nil { // there are no parts to be had
			return nil, 0, err
		}
	}
	return f.source.GetBlob(ctx, info, none.NoCache)
}

// rest asks for a blob from an offset on. The library can do that, by a method
// GetBlobAt(ctx, info, []chunk{Offset, Length}) whose last type is internal to
// it: so it is called by reflection.
func rest(ctx context.Context, source types.ImageSource, info types.BlobInfo, offset int64) (io.ReadCloser, error) {
	method := reflect.ValueOf(source).MethodByName("GetBlobAt")
	if !method.IsValid() || len(info.URLs) > 0 {
		return nil, errors.ErrUnsupported
	}
	chunks := reflect.MakeSlice(method.Type().In(2), 1, 1)
	chunks.Index(0).FieldByName("Offset").SetUint(uint64(offset))
	chunks.Index(0).FieldByName("Length").SetUint(math.MaxUint64)
	results := method.Call([]reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(info), chunks})
	if err, failed := results[2].Interface().(error); failed {
		return nil, err
	}
	streams, errs := results[0].Interface().(chan io.ReadCloser), results[1].Interface().(chan error)
	for {
		select {
		case stream, ok := <-streams:
			if !ok {
				return nil, io.ErrUnexpectedEOF
			}
			return restOf{stream}, nil
		case err := <-errs:
			if err != nil {
				return nil, err
			}
			errs = nil // closed
		}
	}
}

// restOf is a part of a blob. Where a registry gives the whole, the library passes
// over the beginning, and reads what is left when it is closed; after an error
// that is a nil pointer to it (v5.36), though it ends as it should then.
type restOf struct{ io.ReadCloser }

// Close lets go of the answer.
func (r restOf) Close() error {
	defer func() { _ = recover() }()
	return r.ReadCloser.Close()
}

// progressReader tells how much of a blob has been read.
type progressReader struct {
	*reporter
	from   io.Reader
	blob   v1.Descriptor
	offset int64
	told   time.Time
	saidAt int64  // offset that was told
	paced  func() // is called when enough has come, and may be nil
	fresh  int64
}

func (r *progressReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.offset += int64(n)
	r.fresh += int64(n)
	if r.paced != nil && r.fresh >= leastPace {
		r.paced()
		r.fresh = 0
	}
	if now := time.Now(); now.Sub(r.told) >= progressPause || r.offset-r.saidAt >= progressStep {
		r.told, r.saidAt = now, r.offset
		r.tell(Event{Kind: Progress, Digest: r.blob.Digest, Size: r.blob.Size, Offset: r.offset})
	}
	return n, err
}

// storeBlob stores what r gives, which must be the blob d.
func storeBlob(l *layout.Layout, session string, d v1.Descriptor, r io.Reader) error {
	w, err := l.NewBlobWriter(session)
	if err != nil {
		return err
	}
	digester := digest.SHA256.Digester()
	// One byte more than promised shows that there is too much.
	_, err = io.CopyBuffer(io.MultiWriter(w, digester.Hash()), io.LimitReader(r, d.Size+1), make([]byte, copyBuffer))
	switch {
	case err != nil:
	case w.Size() < d.Size:
		err = fmt.Errorf("%d of %d bytes: %w", w.Size(), d.Size, io.ErrUnexpectedEOF)
	case w.Size() > d.Size || digester.Digest() != d.Digest:
		err = fmt.Errorf("the content doesn't have the digest %s", d.Digest)
	default:
		return w.Commit(d.Digest)
	}
	return errors.Join(err, w.Cancel())
}

// spoilt is the error of a blob that can't be had as it should be.
func spoilt(what string, d v1.Descriptor, err error) error {
	if code := registryCode(err); code == v2.ErrorCodeBlobUnknown || code == v2.ErrorCodeNameUnknown || isStatus(err, http.StatusNotFound) {
		return fault.New(pushAgain, "%s %s: the registry doesn't have it", what, d.Digest)
	}
	if errors.Is(err, errContent) {
		return fault.New(pushAgain+"; or a proxy or mirror on the way is at fault", "%s %s: %w", what, d.Digest, err)
	}
	return fmt.Errorf("%s %s: %w", what, d.Digest, err)
}
