package stage

import (
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/builder-oci/builder/internal/spool"
	"github.com/builder-oci/builder/storage/layer"
)

// landedNames has where names landed that others of their files will be links to,
// by the place of the files' first names.
type landedNames struct {
	texts *spool.Texts // nil while there are none
	count uint64       // of what has landed or went
	// gone has when what stood at a path went; nil before something did. It is only
	// used where paths come in any order.
	gone *spool.Index
}

// land notes where a file has landed.
func (l *landedNames) land(temp string, first int, e *layer.Entry) error {
	if l.texts == nil {
		l.texts = spool.NewTexts(temp)
	}
	l.count++
	b := spool.AppendText(nil, e.Path)
	for _, n := range []uint64{l.count, uint64(e.Mode), uint64(e.UID), uint64(e.GID), uint64(e.ModTime.Nanosecond())} {
		b = binary.AppendUvarint(b, n)
	}
	return l.texts.Set(placeKey(first), string(binary.AppendVarint(b, e.ModTime.Unix())))
}

// at gives what stands where a file has landed, and says whether it is there still.
func (l *landedNames) at(first int) (e layer.Entry, there bool, err error) {
	if l.texts == nil {
		return e, false, nil
	}
	text, ok, err := l.texts.Get(placeKey(first))
	if err != nil || !ok {
		return e, false, err
	}
	from := spool.NewFields(strings.NewReader(text))
	e.Path = from.Text()
	when := from.Uint()
	e.Mode, e.UID, e.GID = int64(from.Uint()), uint32(from.Uint()), uint32(from.Uint())
	nanoseconds := int64(from.Uint())
	e.ModTime = time.Unix(from.Int(), nanoseconds)
	if err := from.Err(); err != nil {
		return e, false, err
	}
	went, err := l.wentAfter(when, e.Path)
	return e, !went, err
}

// wentAfter says whether what stood at a path went after something had landed.
func (l *landedNames) wentAfter(when uint64, path string) (bool, error) {
	if l.gone == nil {
		return false, nil
	}
	for ; path != ""; path = parentDir(path) {
		if at, _, err := l.gone.Get(spool.TextKey(0, path)); err != nil || at > when {
			return true, err
		}
	}
	return false, nil
}

// went notes that what stands at a path goes, with what is below it.
func (l *landedNames) went(temp, path string) error {
	if l.texts == nil {
		return nil // nothing has landed yet
	}
	if l.gone == nil {
		l.gone = spool.NewIndex(temp)
	}
	l.count++
	return l.gone.Set(spool.TextKey(0, path), l.count)
}

func (l *landedNames) close() error {
	if l.texts == nil {
		return nil
	}
	if l.gone == nil {
		return l.texts.Close()
	}
	return errors.Join(l.texts.Close(), l.gone.Close())
}
