package layout

import (
	"strings"

	"github.com/opencontainers/go-digest"
)

// isName tells whether what stands in index.json is a name by the grammar of
// github.com/distribution/reference. Other tools write there what they like: a
// name that isn't one can't be used as such, and may steer a terminal. It is fast
// enough for ten thousand names.
func isName(ref string) bool {
	name, suffix := splitName(ref)
	if !isSuffix(suffix) {
		return false
	}
	path := name
	if first, rest, ok := strings.Cut(name, "/"); ok && isDomain(first) {
		if !isHost(first) {
			return false
		}
		path = rest
	} else if len(name) == 64 && isHex(name) {
		return false // an id
	}
	const longest = 255 // with library/ before it
	if len(path) > longest-len(officialPath) {
		return false
	}
	for component := range strings.SplitSeq(path, "/") {
		if !isComponent(component) {
			return false
		}
	}
	return true
}

// isSuffix tells a tag or a digest, or none.
func isSuffix(suffix string) bool {
	if suffix == "" {
		return true
	}
	if suffix[0] == '@' {
		return validDigest(digest.Digest(suffix[1:]))
	}
	const longest = 128
	tag := suffix[1:]
	if tag == "" || len(tag) > longest || tag[0] == '.' || tag[0] == '-' {
		return false
	}
	for i := range len(tag) {
		if c := tag[i]; !isAlphanumeric(c) && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// isComponent tells a part of a path: lower case and digits, with one dot, one or
// two underscores, or any dashes in between.
func isComponent(s string) bool {
	separator := "" // since the last letter
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			if i == len(separator) && separator != "" || !isSeparator(separator) {
				return false
			}
			separator = ""
		case c == '.' || c == '_' || c == '-':
			separator = s[i-len(separator) : i+1]
		default:
			return false
		}
	}
	return s != "" && separator == ""
}

func isSeparator(s string) bool {
	return s == "" || s == "." || s == "_" || s == "__" || strings.Trim(s, "-") == ""
}

// isHost tells a domain, an IP address of version 4, or either with a port. (One
// of version 6 isn't in use with images.)
func isHost(s string) bool {
	host, port, found := strings.Cut(s, ":")
	if found && (port == "" || strings.Trim(port, "0123456789") != "") {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if !isAlphanumeric(label[i]) && label[i] != '-' {
				return false
			}
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
