package archive

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/owner"
)

// attributePrefix begins the PAX records that hold extended attributes.
const attributePrefix = "SCHILY.xattr."

// carried tells the extended attributes that belong to a file rather than to the
// machine where it lies.
func carried(name string) bool {
	return name == "security.capability" || strings.HasPrefix(name, "user.") &&
		!strings.HasPrefix(name, "user.overlay.") && !strings.HasPrefix(name, "user.fuseoverlayfs.") &&
		!strings.HasPrefix(name, "user.containers.") && name != owner.Emulated
}

// attributes gives a file's as PAX records. What can't be read isn't carried.
func attributes(f *os.File) map[string]string {
	list := make([]byte, 4<<10)
	n, err := unix.Flistxattr(int(f.Fd()), list)
	if err != nil || n == 0 {
		return nil
	}
	var records map[string]string
	value := make([]byte, 64<<10)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if !carried(name) {
			continue
		}
		n, err := unix.Fgetxattr(int(f.Fd()), name, value)
		if err != nil {
			continue
		}
		if records == nil {
			records = map[string]string{}
		}
		records[attributePrefix+name] = string(value[:n])
	}
	return records
}

// setAttributes sets those that the file system, and the kernel, permit.
func setAttributes(f *os.File, records map[string]string) {
	for record, value := range records {
		if name, ok := strings.CutPrefix(record, attributePrefix); ok && carried(name) {
			_ = unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0)
		}
	}
}
