package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/containers/image/v5/docker"
	"github.com/docker/distribution/registry/api/errcode"
	v2 "github.com/docker/distribution/registry/api/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

const (
	tries      = 3
	firstPause = 500 * time.Millisecond // doubled for each further try
)

// explain makes what a registry or the way to it said into what the user reads.
func (o Options) explain(err error, r *remote) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) || isOfDisk(err) {
		return err
	}
	name := layout.Familiar(r.name)
	switch code := registryCode(err); {
	case code == v2.ErrorCodeManifestUnknown || code == v2.ErrorCodeNameUnknown:
		return fault.New("check name and tag; what the repository has: skopeo list-tags docker://"+repository(r.name),
			"%w: %s: the registry %s doesn't have it", layout.ErrUnknown, name, r.domain)
	case isUnauthorized(err, code):
		return fault.New(o.authHint(r.domain),
			"access to %s denied by %s: it doesn't exist, or needs a login: %w", name, r.domain, cause(err))
	case errors.Is(err, docker.ErrTooManyRequests) || code == errcode.ErrorCodeTooManyRequests:
		return fault.New("wait, or log in for a higher limit\n"+o.authHint(r.domain),
			"%s: the registry %s has had too many requests from here", name, r.domain)
	case isTLS(err):
		return fault.New(fmt.Sprintf("put its CA into /etc/containers/certs.d/%s/ca.crt or ~/.config/containers/certs.d/%s/ca.crt\n"+
			"or, on a network that you trust, do without: --tls-verify=false", r.domain, r.domain),
			"%s: the registry %s doesn't prove itself: %w", name, r.domain, cause(err))
	case isUnreachable(err):
		return fault.New("check the network, the name's spelling, and proxies (HTTPS_PROXY): curl -v https://"+host(r.domain)+"/v2/",
			"%s: the registry %s can't be reached: %w", name, r.domain, cause(err))
	}
	return fmt.Errorf("%s: %w", name, err)
}

// host is where a domain's registry answers.
func host(domain string) string {
	if domain == "docker.io" {
		return "registry-1.docker.io"
	}
	return domain
}

func repository(canonical string) string {
	name, _, _ := strings.Cut(canonical, "@")
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		return name[:colon]
	}
	return name
}

// registryCode is the code in a registry's answer, or errcode.ErrorCodeUnknown.
func registryCode(err error) errcode.ErrorCode {
	var coder errcode.ErrorCoder
	if errors.As(err, &coder) {
		return coder.ErrorCode()
	}
	return errcode.ErrorCodeUnknown
}

func isUnauthorized(err error, code errcode.ErrorCode) bool {
	var refused docker.ErrUnauthorizedForCredentials
	return errors.As(err, &refused) || code == errcode.ErrorCodeUnauthorized || code == errcode.ErrorCodeDenied
}

func isTLS(err error) bool {
	var verification *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	return errors.As(err, &verification) || errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &record) ||
		errors.Is(err, http.ErrSchemeMismatch)
}

// isOfDisk tells errors of this machine's files, which are explained where those
// of all commands are.
func isOfDisk(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) ||
		errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}

// isUnreachable doesn't ask for net.Error: every error number of the system is
// one.
func isUnreachable(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	var request *url.Error
	return errors.As(err, &op) || errors.As(err, &dns) || errors.As(err, &request) || isCutOff(err)
}

// isCutOff tells whether a connection ended in the middle.
func isCutOff(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// cause is the innermost error that says something by itself: the library
// wraps it in the URLs of its requests.
func cause(err error) error {
	var dns *net.DNSError
	var op *net.OpError
	var verification *tls.CertificateVerificationError
	var registry errcode.Error
	var code errcode.ErrorCode
	switch {
	case errors.As(err, &dns):
		return dns
	case errors.As(err, &op):
		return op
	case errors.As(err, &verification):
		return verification
	case errors.As(err, &registry):
		return registry
	case errors.As(err, &code): // it says no more than its code's usual words
		return code.WithMessage(code.Message())
	}
	return err
}

// isTemporary tells whether the same request may succeed in a moment.
func isTemporary(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.IsTimeout
	}
	switch registryCode(err) {
	case errcode.ErrorCodeUnavailable, errcode.ErrorCodeTooManyRequests:
		return true
	}
	var status interface{ Timeout() bool }
	switch {
	case isCutOff(err):
		return true
	case errors.As(err, &status) && status.Timeout():
		return true
	}
	return isServerError(err)
}

// isServerError tells answers of 500 and above, which the library gives only in
// words.
func isServerError(err error) bool {
	text := err.Error()
	for _, status := range []string{"500", "502", "503", "504"} {
		if strings.Contains(text, "status code "+status) || strings.Contains(text, "StatusCode: "+status) ||
			strings.Contains(text, "unexpected HTTP status: "+status) {
			return true
		}
	}
	return false
}

// retry calls fn again after a pause while its error is a temporary one.
func retry(ctx context.Context, fn func() error) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := fn()
		if err == nil || try == tries || !isTemporary(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause *= 2
	}
}
