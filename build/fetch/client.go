package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"sync/atomic"
	"time"

	"github.com/builder-oci/builder/internal/fault"
)

// patience is how long a server may say nothing: git's too.
const patience = 2 * time.Minute

// client goes through the proxies of the environment.
var client = &http.Client{Transport: &http.Transport{
	Proxy:                 http.ProxyFromEnvironment,
	DialContext:           (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
	ForceAttemptHTTP2:     true,
	TLSHandshakeTimeout:   30 * time.Second,
	ResponseHeaderTimeout: patience,
}}

// Download is a file that a server is sending. The caller closes it.
type Download struct {
	io.ReadCloser
	// Name is the last part of the address after all redirections, "" where it
	// has none.
	Name string
	// Size is what the server says that is to come, in bytes; -1 where it doesn't.
	Size int64
	// Time is when the server says that the file was changed last; zero where it
	// doesn't.
	Time time.Time
}

// Get asks for a file. What can't be had is a *fault.Error, also where it breaks
// off.
func Get(ctx context.Context, address string) (*Download, error) {
	response, err := get(ctx, address, nil)
	if err != nil {
		return nil, err
	}
	if !isSuccess(response) {
		_ = response.Body.Close()
		return nil, refused(address, response)
	}
	return &Download{
		ReadCloser: newBody(address, response.Body, patience), Name: nameOf(response.Request.URL),
		Size: response.ContentLength, Time: lastModified(response),
	}, nil
}

func get(ctx context.Context, address string, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, fault.New("", "%s is no URL: %w", Redacted(address), withoutAddress(err))
	}
	if header != nil {
		request.Header = header
	}
	request.Header.Set("User-Agent", "builder")
	response, err := client.Do(request)
	if err != nil {
		return nil, unreachable(ctx, address, err)
	}
	return response, nil
}

func isSuccess(r *http.Response) bool { return r.StatusCode >= 200 && r.StatusCode < 300 }

// nameOf is the last part of an address's path, or "".
func nameOf(u *url.URL) string {
	if name := path.Base(path.Clean("/" + u.Path)); name != "/" && name != "." {
		return name
	}
	return ""
}

func lastModified(r *http.Response) time.Time {
	t, err := http.ParseTime(r.Header.Get("Last-Modified"))
	if err != nil {
		return time.Time{}
	}
	return t
}

// bodyReader tells a server's errors from those of the disk, and doesn't wait
// for ever.
type bodyReader struct {
	io.ReadCloser
	address  string
	patience time.Duration
	timer    *time.Timer // closes what is read from
	ended    atomic.Bool // by the timer
}

func newBody(address string, body io.ReadCloser, patience time.Duration) *bodyReader {
	b := &bodyReader{ReadCloser: body, address: address, patience: patience}
	b.timer = time.AfterFunc(patience, func() {
		b.ended.Store(true)
		_ = body.Close()
	})
	b.timer.Stop() // until something is read
	return b
}

func (b *bodyReader) Read(p []byte) (int, error) {
	b.timer.Reset(b.patience)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop() // what takes its time with the bytes is not the server
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) && !b.ended.Load() {
		return n, err
	}
	if b.ended.Load() {
		err = fmt.Errorf("the server has sent nothing for %s", b.patience)
	}
	return n, fault.New("build again", "%s broke off: %w", Redacted(b.address), err)
}

func (b *bodyReader) Close() error {
	b.timer.Stop()
	return b.ReadCloser.Close()
}

func refused(address string, response *http.Response) error {
	remedy := "look at it: curl -I " + Redacted(address)
	switch response.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		remedy = "it needs a login: fetch it in a RUN with --mount=type=secret, or by hand before the build"
	case http.StatusNotFound, http.StatusGone:
		remedy = "check the address, of which a git repository's ends in .git: curl -I " + Redacted(address)
	}
	return fault.New(remedy, "%s: the server answers %s", Redacted(address), response.Status)
}

func unreachable(ctx context.Context, address string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	remedy := "check the network, the address's spelling, and proxies (HTTPS_PROXY): curl -I " + Redacted(address)
	var (
		unknown  x509.UnknownAuthorityError
		name     x509.HostnameError
		noTLS    tls.RecordHeaderError
		notFound *net.DNSError
	)
	switch {
	case errors.As(err, &unknown):
		remedy = "if you trust who signed the certificate, name that one's: --ca FILE"
	case errors.As(err, &name):
		remedy = "use the host's name that the certificate has"
	case errors.As(err, &noTLS):
		remedy = "the server speaks no TLS: if you trust the network, write http://"
	case errors.As(err, &notFound) && notFound.IsNotFound:
		remedy = "check the host's spelling, and the name servers: getent hosts " + notFound.Name
	}
	return fault.New(remedy, "%s can't be fetched: %w", Redacted(address), withoutAddress(err))
}

// withoutAddress takes off what net/http puts around an error: the address, with
// its login.
func withoutAddress(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
