package network

import "testing"

func TestResolvConf(t *testing.T) {
	const host = "# local\nnameserver 9.9.9.9\nsearch a.org b.org\noptions edns0\noptions ndots:2\n"
	all, private, private4 := reach{loopback: true, ipv6: true}, reach{ipv6: true}, reach{}
	for _, tc := range []struct {
		name, host string
		reach      reach
		dns        DNS
		want       string
	}{
		{"unchanged as it is", host, private, DNS{}, host},
		{"host network keeps the loopback", "nameserver 127.0.0.53\n", all, DNS{}, "nameserver 127.0.0.53\n"},
		{"loopback is forwarded", "nameserver 127.0.0.53\noptions edns0\n", private, DNS{}, "nameserver 10.0.2.3\noptions edns0\n"},
		{"IPv6 loopback is forwarded", "nameserver ::1\n", private, DNS{}, "nameserver fd00::3\n"},
		{"other servers stay", "nameserver 127.0.0.1\nnameserver 8.8.8.8\n", private, DNS{}, "nameserver 10.0.2.3\nnameserver 8.8.8.8\n"},
		{"further loopbacks go", "nameserver 8.8.8.8\nnameserver ::1\n", private, DNS{}, "nameserver 8.8.8.8\n"},
		{"IPv6 loopback, without IPv6", "nameserver ::1\n", private4, DNS{}, "nameserver 10.0.2.3\n"},
		{"IPv6 loopback, then IPv4, without IPv6", "nameserver ::1\nnameserver 8.8.8.8\n", private4, DNS{}, "nameserver 8.8.8.8\n"},
		{"two loopbacks, without IPv6", "nameserver ::1\nnameserver 127.0.0.53\n", private4, DNS{}, "nameserver 10.0.2.3\n"},
		{"an IPv6 server, without IPv6", "nameserver 2001:db8::53\nnameserver 8.8.8.8\n", private4, DNS{}, "nameserver 8.8.8.8\n"},
		{"no file", "", private, DNS{}, ""},
		{"no file on the host network", "", all, DNS{}, ""},
		{"the user's servers", host, private, DNS{Servers: []string{"1.1.1.1"}}, "nameserver 1.1.1.1\nsearch a.org b.org\noptions edns0 ndots:2\n"},
		{"the user's search", host, all, DNS{Search: []string{"c.org"}}, "nameserver 9.9.9.9\nsearch c.org\noptions edns0 ndots:2\n"},
		{"no search", host, all, DNS{Search: []string{"."}}, "nameserver 9.9.9.9\noptions edns0 ndots:2\n"},
		{"the user's options", host, all, DNS{Options: []string{"rotate"}}, "nameserver 9.9.9.9\nsearch a.org b.org\noptions rotate\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := string(tc.dns.resolvConf([]byte(tc.host), tc.reach)); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
