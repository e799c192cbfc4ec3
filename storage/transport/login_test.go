package transport_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/builder-oci/builder/storage/transport"
)

// Logins at the same time don't lose one another, and the file is the user's alone.
func TestLoginsAtOnceAreAllKept(t *testing.T) {
	const logins = 32
	o := transport.Options{AuthFile: filepath.Join(t.TempDir(), "containers/auth.json")}
	server := func(i int) string { return fmt.Sprintf("registry%d.example.com", i) }
	var group errgroup.Group
	for i := range logins {
		group.Go(func() error {
			_, _, err := transport.StoreLogin(ctx, server(i), "user", "secret", o)
			return err
		})
	}
	must(t, group.Wait())
	for i := range logins {
		if user, _, err := transport.Login(server(i), o); err != nil || user != "user" {
			t.Errorf("%s: %q, %v", server(i), user, err)
		}
	}
	st, err := os.Stat(o.AuthFile)
	must(t, err)
	if st.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %s", st.Mode())
	}

	for i := range logins / 2 {
		group.Go(func() error { return transport.RemoveLogin(ctx, server(i), o) })
	}
	must(t, group.Wait())
	for i := range logins {
		if user, _, err := transport.Login(server(i), o); err != nil || (user == "user") != (i >= logins/2) {
			t.Errorf("after logouts, %s: %q, %v", server(i), user, err)
		}
	}
}
