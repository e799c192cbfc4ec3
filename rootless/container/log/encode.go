package log

import (
	"time"
	"unicode/utf8"
)

// appendEntry appends an entry's line.
func appendEntry(b, log []byte, stream string, at time.Time) []byte {
	b = append(b, `{"log":"`...)
	b = appendText(b, log)
	b = append(b, `","stream":"`...)
	b = append(b, stream...)
	b = append(b, `","time":"`...)
	b = at.AppendFormat(b, time.RFC3339Nano)
	return append(b, '"', '}', '\n')
}

// appendText appends what stands between the quotes of a JSON string (RFC 8259,
// section 7). What isn't UTF-8 can't stand there.
func appendText(b, text []byte) []byte {
	plain := 0 // where what is to be copied as it is begins
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(text[i:])
			if r != utf8.RuneError || size != 1 {
				i += size
				continue
			}
		}
		b = append(b, text[plain:i]...)
		b = appendEscaped(b, c)
		i++
		plain = i
	}
	return append(b, text[plain:]...)
}

// appendEscaped appends a byte that can't stand for itself.
func appendEscaped(b []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch {
	case c == '"' || c == '\\':
		return append(b, '\\', c)
	case c == '\n':
		return append(b, '\\', 'n')
	case c == '\r':
		return append(b, '\\', 'r')
	case c == '\t':
		return append(b, '\\', 't')
	case c < ' ':
		return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
	}
	return append(b, `\ufffd`...)
}
