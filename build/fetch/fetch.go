// Package fetch gets what an address names: a file by HTTP, or a commit of a git
// repository, for ADD and for build contexts.
//
// Each has two steps. Resolve says what is there now (a digest, or a commit) by
// one small question where an earlier answer is remembered; only Fetch brings
// the content. A caller that may write nothing gives no directory, and is told
// ErrNotHere where the content itself would be needed.
package fetch

import (
	"errors"
	"net/url"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/dfgitutil"
)

// ErrNotHere says that the content would have to be fetched to go on, and that
// there is no directory for it.
var ErrNotHere = errors.New("the content has to be fetched")

// Dir gives the directory that content is put into. It is called when something
// is fetched.
type Dir func() (string, error)

// IsAddress says whether a source of ADD names something to fetch, and isn't a
// path of the build context.
func IsAddress(source string) bool {
	return IsHTTP(source) || IsGit(source)
}

// IsHTTP says whether a source is a file's URL: http or https, and no
// repository's.
func IsHTTP(source string) bool {
	return (strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://")) && !IsGit(source)
}

// IsGit says whether a source is a git repository's address by BuildKit's
// rules: git://, ssh://, user@host:path, or a URL whose path ends with .git.
func IsGit(source string) bool {
	ref, isGit, err := dfgitutil.ParseGitRef(source)
	return isGit && (err != nil || !ref.IndistinguishableFromLocal)
}

// Redacted is an address as messages show it: without its login, but for the
// user of ssh, who is no secret.
func Redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return address
	}
	switch _, has := u.User.Password(); {
	case has:
		u.User = url.UserPassword("xxxxx", "xxxxx")
	case u.Scheme == "ssh":
		return address
	default: // it may be a token
		u.User = url.User("xxxxx")
	}
	return u.String()
}
