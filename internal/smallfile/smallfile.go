// Package smallfile reads files that many commands read, and that anything may have been
// put in the place of.
package smallfile

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// Max is what such a file may have.
const Max = 1 << 20

// Read reads a regular file of at most Max bytes. A pipe at whose other end nobody is
// would never open, whatever signal came, and what has no end fills the memory.
func Read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	switch st, err := f.Stat(); {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	case st.Size() > Max:
		return nil, fmt.Errorf("%s is larger than %d MiB", path, Max>>20)
	}
	return io.ReadAll(io.LimitReader(f, Max))
}
