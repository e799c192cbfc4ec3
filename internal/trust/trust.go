// Package trust is about the certificate authorities that a user trusts beside
// those that are trusted anyway: of a company's own registries and mirrors, or of a
// proxy that opens what is encrypted.
//
// [Read] checks the files that the user names. [Authorities.Machine] makes one
// bundle of them and the machine's, for this process and those it starts.
// [Authorities.Show] shows them to the programs in an image's root file system, so
// that nothing of it stays there.
package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/builder-oci/builder/internal/fault"
)

// Authorities are certificates in PEM form. The zero value is none.
type Authorities struct{ pem []byte }

// maxFile bounds a file of certificates: the usual list of all public ones has a
// quarter of a megabyte.
const maxFile = 16 << 20

const certificateBlock = "CERTIFICATE"

// FromPEM gives what PEM gave.
func FromPEM(certificates []byte) Authorities { return Authorities{certificates} }

// PEM gives the certificates one after another.
func (a Authorities) PEM() []byte { return a.pem }

// None says that the user trusts nobody more.
func (a Authorities) None() bool { return len(a.pem) == 0 }

// Read reads files of certificates. What is wrong with one is a *fault.Error;
// notes are of those that will hardly do: what has expired, or is no authority's.
func Read(files []string, now time.Time) (a Authorities, notes []error, err error) {
	seen := map[string]bool{}
	for _, name := range files {
		certificates, err := readFile(name)
		if err != nil {
			return Authorities{}, nil, err
		}
		for _, c := range certificates {
			if seen[string(c.Raw)] {
				continue
			}
			seen[string(c.Raw)] = true
			a.pem = append(a.pem, pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.Raw})...)
			if note := doubt(name, c, now); note != nil {
				notes = append(notes, note)
			}
		}
	}
	return a, notes, nil
}

func readFile(name string) ([]*x509.Certificate, error) {
	data, err := readBounded(name)
	if err != nil {
		return nil, fault.New("name a file of certificates that you can read", "the certificate authority can't be read: %w", err)
	}
	var certificates []*x509.Certificate
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch {
		case block.Type == certificateBlock:
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fault.New("get the file again from who keeps the authority", "certificate %d of %s is damaged: %w", len(certificates)+1, name, err)
			}
			certificates = append(certificates, c)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return nil, fault.New("name the file that has the authority's certificate alone", "%s holds a private key, which would be shown to every RUN", name)
		}
	}
	if len(certificates) > 0 {
		return certificates, nil
	}
	if _, err := x509.ParseCertificate(data); err == nil {
		return nil, fault.New(fmt.Sprintf("openssl x509 -inform der -in %s -out %s.pem", name, name), "%s is a certificate in binary form (DER), not in text (PEM)", name)
	}
	return nil, fault.New("name a file with lines that say BEGIN CERTIFICATE", "%s holds no certificate in PEM form", name)
}

func readBounded(name string) ([]byte, error) {
	// A pipe at whose other end nobody is would never open, whatever signal came.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // named by the user
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d MiB", name, maxFile>>20)
	}
	return data, err
}

// doubt tells why a certificate will hardly do as an authority's, nil if it will.
func doubt(name string, c *x509.Certificate, now time.Time) error {
	subject := c.Subject.CommonName
	if subject == "" {
		subject = c.Subject.String()
	}
	const day = "2006-01-02"
	switch {
	case now.After(c.NotAfter):
		return fault.New("ask who keeps the authority for its new certificate", "%s: the certificate %q expired on %s", name, subject, c.NotAfter.Format(day))
	case now.Before(c.NotBefore):
		return fault.New("check this machine's clock: date", "%s: the certificate %q counts from %s on only", name, subject, c.NotBefore.Format(day))
	case !c.IsCA && !bytes.Equal(c.RawIssuer, c.RawSubject):
		return fault.New("name the certificate of who signed it: "+c.Issuer.String(), "%s: the certificate %q is a server's, not an authority's", name, subject)
	}
	return nil
}

// over gives a bundle's text with the authorities behind it, unless it has them.
func (a Authorities) over(bundle []byte) []byte {
	if bytes.Contains(bundle, a.pem) {
		return bundle
	}
	all := bytes.Clone(bundle)
	if len(all) > 0 && all[len(all)-1] != '\n' {
		all = append(all, '\n')
	}
	return append(all, a.block()...)
}

// block is what stands in a bundle. Its first line tells it from the same certificate
// in an image of its own.
func (a Authorities) block() []byte {
	return append([]byte("# builder --ca: shown to programs, and no part of the image\n"), a.pem...)
}
