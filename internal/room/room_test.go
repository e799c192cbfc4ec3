package room

import (
	"errors"
	"math"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

func TestWhatDoesNotFitIsToldBefore(t *testing.T) {
	dir := t.TempDir()
	free, err := Free(dir)
	if err != nil || free <= 0 {
		t.Fatal(free, err)
	}
	if err := For(dir, 1); err != nil {
		t.Errorf("one byte: %v", err)
	}
	err = For(dir, math.MaxInt64)
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "needs about 9.2") || !strings.Contains(fault.Remedy(err), PruneCache) {
		t.Errorf("%v, %s", err, fault.Remedy(err))
	}
	if err := For(dir+"/missing", math.MaxInt64); err != nil {
		t.Errorf("of a directory that isn't there: %v", err)
	}
}
