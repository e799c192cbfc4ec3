package spool

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
)

// Texts leads from keys to texts. It isn't for several goroutines.
type Texts struct {
	index *Index
	texts *Spool
}

// NewTexts gives one without keys, which makes its files in dir.
func NewTexts(dir string) *Texts { return &Texts{index: NewIndex(dir), texts: New(dir)} }

// TextKey gives the key of a number and a text.
func TextKey(n uint64, text string) Key {
	sum := sha256.Sum256(append(binary.LittleEndian.AppendUint64(nil, n), text...))
	return Key(sum[:len(Key{})])
}

// Get gives a key's text, and says whether it has one.
func (t *Texts) Get(k Key) (text string, ok bool, err error) {
	at, ok, err := t.index.Get(k)
	if err != nil || !ok {
		return "", false, err
	}
	text, err = t.texts.text(int64(at))
	return text, err == nil, err
}

// Set gives a key its text. What it had before takes its room still.
func (t *Texts) Set(k Key, text string) error {
	at := t.texts.Size()
	if _, err := t.texts.Write(AppendText(nil, text)); err != nil {
		return err
	}
	return t.index.Set(k, uint64(at))
}

// Close gives everything back.
func (t *Texts) Close() error { return errors.Join(t.index.Close(), t.texts.Close()) }

// text reads what AppendText appended at a place.
func (s *Spool) text(at int64) (string, error) {
	var head [256]byte // most are shorter
	n, err := s.ReadAt(head[:], at)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	length, prefix := binary.Uvarint(head[:n])
	if prefix <= 0 {
		return "", io.ErrUnexpectedEOF
	}
	if end := prefix + int(length); end <= n {
		return string(head[prefix:end]), nil
	}
	long := make([]byte, length)
	_, err = s.ReadAt(long, at+int64(prefix))
	return string(long), err
}
