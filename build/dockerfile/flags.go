package dockerfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/buildkit/util/suggest"
)

// flagsOf are the flags that instructions have, in the order of their alphabet.
var flagsOf = map[string][]string{
	"add":         {"checksum", "chmod", "chown", "exclude", "keep-git-dir", "link", "unpack"},
	"copy":        {"chmod", "chown", "exclude", "from", "link", "parents"},
	"from":        {"platform"},
	"healthcheck": {"interval", "retries", "start-interval", "start-period", "timeout"},
	"run":         {"device", "mount", "network", "security"},
}

// mountFields are those of RUN --mount.
var mountFields = []string{
	"destination", "dst", "env", "from", "gid", "id", "mode", "readonly", "readwrite", "required", "ro", "rw",
	"sharing", "size", "source", "src", "target", "type", "uid",
}

// mountError names the field that was perhaps meant by one that has no value,
// which BuildKit doesn't.
func mountError(err error) error {
	name, bare := bareField(err)
	if !bare {
		return tidy(err)
	}
	if meant, ok := nearestWord(name, mountFields); ok {
		return fmt.Errorf("unexpected key '%s' (did you mean %s?)", name, meant)
	}
	return tidy(err)
}

// bareField is the field of a mount that has no value, and isn't one that may do
// without.
func bareField(err error) (string, bool) {
	name, ok := strings.CutSuffix(err.Error(), "' must be a key=value pair")
	if !ok {
		return "", false
	}
	_, name, ok = strings.Cut(name, "invalid field '")
	return name, ok && !slices.Contains(mountFields, name)
}

// flagError names the flag that was perhaps meant where err is about an unknown
// one. BuildKit's guess is any one of those that are equally near.
func flagError(instruction string, err error) error {
	const unknown = "unknown flag: --"
	_, word, ok := strings.Cut(err.Error(), unknown)
	if !ok {
		return tidy(err)
	}
	word, _, _ = strings.Cut(word, " (did you mean")
	meant, ok := nearestWord(word, flagsOf[strings.ToLower(instruction)])
	if !ok {
		return fmt.Errorf(unknown+"%s", word)
	}
	return fmt.Errorf(unknown+"%s (did you mean %s?)", word, meant)
}

// nearestWord prefers one with the same letters in another order.
func nearestWord(word string, known []string) (string, bool) {
	for _, k := range known {
		if letters(k) == letters(word) {
			return k, true
		}
	}
	return suggest.Search(word, known, true)
}

func letters(word string) string {
	runes := []rune(word)
	slices.Sort(runes)
	return string(runes)
}
