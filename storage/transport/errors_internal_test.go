package transport

import (
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

func TestOnlyTheNetworksErrorsAreToldAsSuch(t *testing.T) {
	r := &remote{name: "quay.io/x/app:v1", domain: "quay.io"}
	write := func(err error) error {
		return &fs.PathError{Op: "write", Path: "/store/images/blobs/sha256/.tmp-x", Err: err}
	}
	for what, tt := range map[string]struct {
		err     error
		network bool
	}{
		"a full disk":          {write(unix.ENOSPC), false},
		"a disk that fails":    {write(unix.EIO), false},
		"a quota":              {os.NewSyscallError("fsync", unix.EDQUOT), false},
		"a read-only disk":     {unix.EROFS, false},
		"too many files":       {unix.EMFILE, false},
		"nobody listens":       {&net.OpError{Op: "dial", Net: "tcp", Err: unix.ECONNREFUSED}, true},
		"no such host":         {&url.Error{Op: "Get", URL: "https://quay.io/v2/", Err: &net.DNSError{Err: "no such host"}}, true},
		"a request that fails": {&url.Error{Op: "Get", URL: "https://quay.io/v2/", Err: fmt.Errorf("TLS handshake timeout")}, true},
		"cut off":              {fmt.Errorf("read: %w", unix.ECONNRESET), true},
	} {
		got := Options{}.explain(fmt.Errorf("blob sha256:0: %w", tt.err), r)
		if told := strings.Contains(got.Error(), "the registry quay.io can't be reached") || strings.Contains(got.Error(), "the connection to the registry quay.io broke"); told != tt.network || (fault.Remedy(got) != "") != tt.network {
			t.Errorf("%s: %v; remedy %q", what, got, fault.Remedy(got))
		}
	}
}
