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

// flagError names the flag that was perhaps meant where err is about an unknown
// one. BuildKit's guess is any one of those that are equally near.
func flagError(instruction string, err error) error {
	const unknown = "unknown flag: --"
	_, word, ok := strings.Cut(err.Error(), unknown)
	if !ok {
		return tidy(err)
	}
	word, _, _ = strings.Cut(word, " (did you mean")
	meant, ok := nearestFlag(word, flagsOf[strings.ToLower(instruction)])
	if !ok {
		return fmt.Errorf(unknown+"%s", word)
	}
	return fmt.Errorf(unknown+"%s (did you mean %s?)", word, meant)
}

// nearestFlag prefers one with the same letters in another order.
func nearestFlag(word string, flags []string) (string, bool) {
	for _, flag := range flags {
		if letters(flag) == letters(word) {
			return flag, true
		}
	}
	return suggest.Search(word, flags, true)
}

func letters(word string) string {
	runes := []rune(word)
	slices.Sort(runes)
	return string(runes)
}
