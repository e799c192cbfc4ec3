package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
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
	"github.com/containers/image/v5/types"
	"github.com/docker/distribution/registry/api/errcode"
	v2 "github.com/docker/distribution/registry/api/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

// explain makes what a registry or the way to it said into what the user reads.
func (o Options) explain(err error, r *remote) error {
	var known *fault.Error
	if name := layout.Familiar(r.name); errors.As(err, &known) {
		if strings.Contains(err.Error(), name) {
			return err
		}
		return fault.At(name, err)
	}
	if err == nil || errors.Is(err, context.Canceled) || isOfDisk(err) {
		return err
	}
	explained := o.explainRegistry(err, r)
	if note := mirrorNote(err); note != "" {
		return fault.New(fault.Remedy(explained), "%w%s", explained, note)
	}
	return explained
}

func (o Options) explainRegistry(err error, r *remote) error {
	name := layout.Familiar(r.name)
	switch code := registryCode(err); {
	case code == v2.ErrorCodeManifestUnknown || code == v2.ErrorCodeNameUnknown || isStatus(err, http.StatusNotFound):
		return fault.New("check name and tag; what the repository has: skopeo list-tags docker://"+repository(r.name),
			"%w: %s: the registry %s doesn't have it", layout.ErrUnknown, name, r.domain)
	case isUnauthorized(err, code):
		return fault.New(o.authHint(r.domain),
			"access to %s denied by %s: it doesn't exist, or needs a login: %w", name, r.domain, cause(err))
	case isOverrun(err):
		return fault.New("wait, or log in for a higher limit\n"+o.authHint(r.domain)+"\n"+mirrorLine(r.domain),
			"%s: the registry %s has had too many requests from here", name, r.domain)
	case strings.Contains(err.Error(), "does not match provided manifest digest"):
		return fault.New("check the digest; else a proxy or mirror on the way is at fault",
			"%s: the registry %s gives a manifest of another digest", name, r.domain)
	case strings.Contains(err.Error(), "exceeded maximum allowed size"):
		return fault.New(pushAgain, "%s: the registry %s gives a manifest of more than 4 MiB", name, r.domain)
	case isGarbled(err):
		return notRegistry(name, r.domain, cause(err))
	case errors.Is(err, errSilent):
		return fault.New("try again later, or see whether it answers: curl -v https://"+host(r.domain)+"/v2/",
			"%s: the registry %s is silent: %w", name, r.domain, err)
	case isCircle(err):
		return fault.New("check the name, and registries.conf for mirrors; to see where it leads: curl -vL https://"+host(r.domain)+"/v2/",
			"%s: the registry %s redirects in circles", name, r.domain)
	case isServerError(err):
		return fault.New("try again later: it is the registry's fault",
			"%s: the registry %s fails: %w", name, r.domain, cause(err))
	case isCutOff(err):
		return fault.New("try again: what has arrived whole isn't fetched again",
			"%s: the connection to the registry %s broke: %w", name, r.domain, err)
	case isOutOfTime(err):
		return fault.New("see whether this machine's clock is right: date\nelse whoever keeps the registry has to renew its certificate",
			"%s: %w", name, &OutOfTime{Registry: r.domain, Clock: clockOf(context.Background(), host(r.domain)), err: cause(err)})
	case isTLS(err):
		return fault.New(fmt.Sprintf("name the certificate of who signed it: --ca FILE    # or ca = [\"FILE\"] in builder's config.toml\n"+
			"or put it into ~/.config/containers/certs.d/%s/ca.crt, for this registry alone\n"+
			"or, on a network that you trust, do without: --tls-verify=false", r.domain),
			"%s: the registry %s doesn't prove itself: %w", name, r.domain, cause(err))
	case isUnreachable(err):
		return fault.New("check the network, the name's spelling, and proxies (HTTPS_PROXY): curl -v https://"+host(r.domain)+"/v2/",
			"%s: the registry %s can't be reached: %w", name, r.domain, cause(err))
	}
	return fmt.Errorf("%s: %w", name, err)
}

func notRegistry(name, domain string, why error) error {
	return fault.New("see what it is: curl -v https://"+host(domain)+"/v2/",
		"%s: what answers at %s isn't a registry: %w", name, domain, why)
}

// explainServer is explain of what was asked about no image.
func (o Options) explainServer(err error, server string, sys *types.SystemContext) error {
	domain := domainOf(server)
	if err != nil && isStatus(err, http.StatusNotFound) {
		return notRegistry(server, domain, errors.New("404 "+http.StatusText(http.StatusNotFound)))
	}
	return o.explain(err, &remote{name: server, domain: domain, sys: sys})
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
	return errors.As(err, &refused) || code == errcode.ErrorCodeUnauthorized || code == errcode.ErrorCodeDenied ||
		isStatus(err, http.StatusForbidden)
}

// isStatus tells an answer whose body isn't a registry's: the library gives its
// status in words.
func isStatus(err error, status int) bool {
	return strings.Contains(err.Error(), fmt.Sprintf("StatusCode: %d,", status))
}

// OutOfTime says that a registry's certificate doesn't count yet, or any more, by this
// machine's clock.
type OutOfTime struct {
	Registry string
	Clock    time.Time // the registry's, zero where it doesn't tell
	err      error
}

func (e *OutOfTime) Error() string {
	return fmt.Sprintf("the registry %s doesn't prove itself: %v", e.Registry, e.err)
}

func (e *OutOfTime) Unwrap() error { return e.err }

func isOutOfTime(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
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

// isGarbled tells an answer that should have been JSON. Of files that should be the
// library says which.
func isGarbled(err error) bool {
	var syntax *json.SyntaxError
	return errors.As(err, &syntax) && err.Error() == syntax.Error()
}

// isCircle tells redirections without end.
func isCircle(err error) bool {
	var request *url.Error
	return errors.As(err, &request) && strings.Contains(err.Error(), "stopped after 10 redirects")
}

// isOfNetwork tells errors after which another try may do: what has been fetched
// before is good.
func isOfNetwork(err error) bool {
	return isTemporary(err) || isUnreachable(err) || isUnauthorized(err, registryCode(err)) || isOverrun(err)
}

// isOverrun tells whether a registry wants fewer requests.
func isOverrun(err error) bool {
	return errors.Is(err, docker.ErrTooManyRequests) || registryCode(err) == errcode.ErrorCodeTooManyRequests
}

// asDNS gives the error of looking a name up.
func asDNS(err error) *net.DNSError {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns
	}
	return nil
}

// cause is the innermost error that says something by itself: the library
// wraps it in the URLs of its requests.
func cause(err error) error {
	var dns *net.DNSError
	var op *net.OpError
	var verification *tls.CertificateVerificationError
	var registry errcode.Error
	var code errcode.ErrorCode
	var status docker.UnexpectedHTTPStatusError
	switch {
	case errors.As(err, &status):
		return fmt.Errorf("%d %s", status.StatusCode, http.StatusText(status.StatusCode))
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
