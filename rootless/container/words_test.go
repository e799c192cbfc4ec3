package container

import (
	"regexp"
	"strings"
	"testing"
)

func TestMadeUpNamesAreNobodyElses(t *testing.T) {
	form := regexp.MustCompile(`^[a-z]+_[a-z]+\d*$`)
	taken := map[string]bool{}
	for range 20_000 { // more than there are without a number
		name := anyName(func(name string) bool { return taken[name] })
		if taken[name] || !form.MatchString(name) {
			t.Fatalf("%q, after %d others", name, len(taken))
		}
		taken[name] = true
	}
}

func TestWordsOfNamesAreThereOnce(t *testing.T) {
	for _, list := range []string{adjectives, surnames} {
		seen := map[string]bool{}
		for _, word := range strings.Fields(list) {
			if seen[word] {
				t.Errorf("%s is there twice", word)
			}
			seen[word] = true
		}
	}
}
