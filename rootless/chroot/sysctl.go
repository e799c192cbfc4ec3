package chroot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// setSysctl sets a parameter of the kernel's, for the namespaces of this process.
func setSysctl(name, value string) error {
	path := filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/"))
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return fmt.Errorf("setting the kernel's parameter %s: %w", name, err)
	}
	return nil
}
