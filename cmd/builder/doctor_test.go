package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/transport"
)

// certificateOf is one for the loopback that counts for a day.
func certificateOf(t *testing.T, from time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: from.Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestCertificateThatDoesNotCountIsTheClocksOrTheRegistrys(t *testing.T) {
	const day = 24 * time.Hour
	verify := true
	for _, tc := range []struct {
		name            string
		certified, says time.Duration // from now
		cause, remedy   string
		machine         bool
	}{
		{"this clock is behind", 9 * day, 9*day + time.Hour, "the clock is wrong: it shows ", "timedatectl set-ntp true", true},
		{"the certificate is old", -9 * day, 0, "doesn't prove itself: ", "has to renew its certificate", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", time.Now().Add(tc.says).UTC().Format(http.TimeFormat))
			}))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{certificateOf(t, time.Now().Add(tc.certified))}}
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
			server.StartTLS()
			t.Cleanup(server.Close)
			address := server.Listener.Addr().String()
			_, err := transport.Ping(t.Context(), address, transport.Options{TLSVerify: &verify})
			err = explain(err)
			if err == nil || !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), tc.cause) {
				t.Errorf("error %v", err)
			}
			if got := fault.Remedy(err); !strings.Contains(got, tc.remedy) || fault.OfMachine(err) != tc.machine {
				t.Errorf("remedy %q, of the machine: %v", got, fault.OfMachine(err))
			}
		})
	}
}

func TestUnknownAuthorityIsTheMachinesWhereItHasNone(t *testing.T) {
	err := fault.At("Dockerfile:2", fault.New("name it: --ca FILE", "the registry: %w", x509.UnknownAuthorityError{}))
	none, some := func() bool { return false }, func() bool { return true }
	got := byAuthoritiesOf(err, none)
	if !strings.HasPrefix(got.Error(), err.Error()+": no certificate authorities are installed") || !fault.OfMachine(got) {
		t.Errorf("error %v, of the machine: %v", got, fault.OfMachine(got))
	}
	if remedy := fault.Remedy(got); remedy != doctor.Install("ca-certificates")+"\nor name it: --ca FILE" {
		t.Errorf("remedy %q", remedy)
	}
	if got := byAuthoritiesOf(err, some); got != err {
		t.Errorf("where there are some: %v", got)
	}
	other := errors.New("whatever")
	if got := byAuthoritiesOf(other, none); got != other {
		t.Errorf("another error was changed: %v", got)
	}
}

func TestWhatTheStoresDiskLacksIsSaidInDoctorsWords(t *testing.T) {
	t.Setenv("BUILDER_ROOT", t.TempDir())
	for err, words := range map[error]string{
		layer.ErrAttributes: "can't have user xattrs",
		unix.ENOLCK:         "can't be relied on: ",
	} {
		got := explain(fault.At("Dockerfile:2", fmt.Errorf("doing it: %w", err)))
		if !errors.Is(got, err) || !strings.HasPrefix(got.Error(), "Dockerfile:2: doing it: ") || !strings.Contains(got.Error(), words) {
			t.Errorf("%v: %v", err, got)
		}
		if !strings.Contains(fault.Remedy(got), "BUILDER_ROOT=") || !fault.OfMachine(got) {
			t.Errorf("%v: remedy %q", err, fault.Remedy(got))
		}
	}
	if other := errors.New("whatever"); explain(other) != other {
		t.Error("another error was changed")
	}
}
