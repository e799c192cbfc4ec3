package dockerfile

import (
	"fmt"
	"regexp"

	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// Variables that name each other twice double with each line: ENV A=$A$A. So
// the values that one word takes have a bound. No command could be given more
// than an eighth of it in a variable; and where all that a pattern matches is
// replaced, what is put in may be long too, and comes as often.
const (
	maxValues   = 1 << 20
	maxReplaced = 1 << 14
)

// replacesAll finds ${variable//pattern/replacement}.
var replacesAll = regexp.MustCompile(`\$\{\w+//`)

// values are the variables of one word.
type values struct {
	shell.EnvGetter
	bound, given int
}

func (v *values) Get(name string) (string, bool) {
	value, ok := v.EnvGetter.Get(name)
	v.given += len(value)
	if v.given > v.bound {
		return "", ok
	}
	return value, ok
}

func (v *values) err() error {
	if v.given > v.bound {
		return fmt.Errorf("the values of its variables are longer than %d kB together", v.bound>>10)
	}
	return nil
}

// within gives a word's variables.
func within(word string, env shell.EnvGetter) *values {
	bound := maxValues
	if replacesAll.MatchString(word) {
		bound = maxReplaced
	}
	return &values{EnvGetter: env, bound: bound}
}

// process expands a word to one word, and says which of its variables are unset.
func process(lex *shell.Lex, word string, env shell.EnvGetter) (shell.ProcessWordResult, error) {
	vars := within(word, env)
	result, err := lex.ProcessWordWithMatches(word, vars)
	if tooLong := vars.err(); tooLong != nil {
		err = tooLong
	}
	return result, err
}
