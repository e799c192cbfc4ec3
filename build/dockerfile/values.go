package dockerfile

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"golang.org/x/sys/unix"
)

// checkSignal accepts what docker does: a number, or a name with or without
// SIG, real-time signals counted from their ends.
func checkSignal(sig string) error {
	if n, err := strconv.Atoi(sig); err == nil {
		if n > 0 && n <= 64 {
			return nil
		}
		return fmt.Errorf("%q is no signal", sig)
	}
	name := strings.TrimPrefix(strings.ToUpper(sig), "SIG")
	if unix.SignalNum("SIG"+name) != 0 || realTimeSignal.MatchString(name) {
		return nil
	}
	return fmt.Errorf("%q is no signal", sig)
}

var realTimeSignal = regexp.MustCompile(`^RT(MIN|MIN\+([1-9]|1[0-5])|MAX|MAX-([1-9]|1[0-4]))$`)

// scpLike is git's short form of an ssh address: user@host:path.
var scpLike = regexp.MustCompile(`^[a-zA-Z0-9_-]+@[a-zA-Z0-9.-]+:`)

// isRemote says whether a source of ADD is fetched from elsewhere.
func isRemote(source string) bool {
	scheme, _, ok := strings.Cut(source, "://")
	if !ok {
		return scpLike.MatchString(source)
	}
	switch scheme {
	case "http", "https", "git", "ssh":
		return true
	}
	return false
}

func remoteCopy(source string) error {
	return fault.New("use ADD, which fetches", "COPY reads files only, not the address %s", source)
}
