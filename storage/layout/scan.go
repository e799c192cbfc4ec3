package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// errScan says that a text isn't JSON or not the JSON that was expected.
var errScan = errors.New("not valid JSON")

// deepest is how far values may be nested.
const deepest = 100

// A scanner reads JSON without building values that nobody asks for, several
// times as fast as encoding/json: index.json is megabytes at ten thousand
// images, and read by every command.
type scanner struct {
	text  string
	pos   int
	depth int
}

func (s *scanner) fail() error {
	return fmt.Errorf("%w at byte %d", errScan, s.pos)
}

// next skips white space and gives the byte that follows, or 0 at the end.
func (s *scanner) next() byte {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// end checks that nothing but white space is left.
func (s *scanner) end() error {
	if s.next(); s.pos != len(s.text) {
		return s.fail()
	}
	return nil
}

// object reads an object and calls member with each key; member must read the
// value. null is an object without members.
func (s *scanner) object(member func(key string) error) error {
	return s.list('{', '}', func() error {
		if s.next() != '"' {
			return s.fail()
		}
		key, err := s.str()
		if err != nil {
			return err
		}
		if s.next() != ':' {
			return s.fail()
		}
		s.pos++
		return member(key)
	})
}

// array reads an array and calls element before each; element must read it.
// null is an empty array.
func (s *scanner) array(element func() error) error {
	return s.list('[', ']', element)
}

func (s *scanner) list(open, shut byte, element func() error) error {
	if s.next() == 'n' {
		return s.literal("null")
	}
	if s.next() != open || s.depth == deepest {
		return s.fail()
	}
	s.pos++
	s.depth++
	defer func() { s.depth-- }()
	if s.next() == shut {
		s.pos++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		switch s.next() {
		case ',':
			s.pos++
		case shut:
			s.pos++
			return nil
		default:
			return s.fail()
		}
	}
}

// raw reads any value and gives its text.
func (s *scanner) raw() (string, error) {
	first := s.next()
	start := s.pos
	var err error
	switch first {
	case '{':
		err = s.object(func(string) error { _, err := s.raw(); return err })
	case '[':
		err = s.array(func() error { _, err := s.raw(); return err })
	case '"':
		_, err = s.str()
	case 't':
		err = s.literal("true")
	case 'f':
		err = s.literal("false")
	case 'n':
		err = s.literal("null")
	default:
		err = s.number()
	}
	return s.text[start:s.pos], err
}

func (s *scanner) literal(word string) error {
	if !strings.HasPrefix(s.text[s.pos:], word) {
		return s.fail()
	}
	s.pos += len(word)
	return nil
}

func (s *scanner) number() error {
	start := s.pos
	for s.pos < len(s.text) && strings.IndexByte("+-.0123456789Ee", s.text[s.pos]) >= 0 {
		s.pos++
	}
	if !json.Valid([]byte(s.text[start:s.pos])) {
		s.pos = start
		return s.fail()
	}
	return nil
}

// integer reads a whole number; null is 0.
func (s *scanner) integer() (int64, error) {
	if s.next() == 'n' {
		return 0, s.literal("null")
	}
	start := s.pos
	if err := s.number(); err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s.text[start:s.pos], 10, 64)
	if err != nil {
		return 0, s.fail()
	}
	return n, nil
}

// str reads a string; null is "". Without escapes it shares the scanner's text.
func (s *scanner) str() (string, error) {
	if s.next() == 'n' {
		return "", s.literal("null")
	}
	if s.next() != '"' {
		return "", s.fail()
	}
	start := s.pos
	for i := start + 1; i < len(s.text); i++ {
		c := s.text[i]
		if !special[c] {
			continue
		}
		switch c {
		case '"':
			s.pos = i + 1
			return s.text[start+1 : i], nil
		case '\\':
			return s.escaped(start)
		}
		return "", s.fail()
	}
	return "", s.fail()
}

// special are the bytes that end a string, or don't belong into one as they are.
var special = func() (is [256]bool) {
	for c := range byte(' ') {
		is[c] = true
	}
	is['"'], is['\\'] = true, true
	return is
}()

// escaped reads the string with escapes that begins at start.
func (s *scanner) escaped(start int) (string, error) {
	for i := start + 1; i < len(s.text); i++ {
		switch s.text[i] {
		case '\\':
			i++
		case '"':
			var value string
			if json.Unmarshal([]byte(s.text[start:i+1]), &value) != nil {
				return "", s.fail()
			}
			s.pos = i + 1
			return value, nil
		}
	}
	return "", s.fail()
}
