// Package bootid tells one run of the kernel from another.
package bootid

import (
	"fmt"
	"os"
	"strings"
)

// Get names the machine's present boot.
func Get() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}
