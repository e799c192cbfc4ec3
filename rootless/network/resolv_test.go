package network

import "testing"

func TestResolvConf(t *testing.T) {
	const host = "# local\nnameserver 9.9.9.9\nsearch a.org b.org\noptions edns0\noptions ndots:2\n"
	for _, tc := range []struct {
		name, host string
		private    bool
		dns        DNS
		want       string
	}{
		{"unchanged as it is", host, true, DNS{}, host},
		{"host network keeps the loopback", "nameserver 127.0.0.53\n", false, DNS{}, "nameserver 127.0.0.53\n"},
		{"loopback is forwarded", "nameserver 127.0.0.53\noptions edns0\n", true, DNS{}, "nameserver 10.0.2.3\noptions edns0\n"},
		{"IPv6 loopback is forwarded", "nameserver ::1\n", true, DNS{}, "nameserver fd00::3\n"},
		{"other servers stay", "nameserver 127.0.0.1\nnameserver 8.8.8.8\n", true, DNS{}, "nameserver 10.0.2.3\nnameserver 8.8.8.8\n"},
		{"further loopbacks go", "nameserver 8.8.8.8\nnameserver ::1\n", true, DNS{}, "nameserver 8.8.8.8\n"},
		{"no file", "", true, DNS{}, ""},
		{"no file on the host network", "", false, DNS{}, ""},
		{"the user's servers", host, true, DNS{Servers: []string{"1.1.1.1"}}, "nameserver 1.1.1.1\nsearch a.org b.org\noptions edns0 ndots:2\n"},
		{"the user's search", host, false, DNS{Search: []string{"c.org"}}, "nameserver 9.9.9.9\nsearch c.org\noptions edns0 ndots:2\n"},
		{"no search", host, false, DNS{Search: []string{"."}}, "nameserver 9.9.9.9\noptions edns0 ndots:2\n"},
		{"the user's options", host, false, DNS{Options: []string{"rotate"}}, "nameserver 9.9.9.9\nsearch a.org b.org\noptions rotate\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := string(tc.dns.resolvConf([]byte(tc.host), tc.private)); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
