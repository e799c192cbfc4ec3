package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"mime"
	"net/http"
	"time"

	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/types"
)

// Ping asks a registry, what Server gives, whether it is there, and gives the time
// that its clock shows, zero where it doesn't tell. One that wants a login is there.
func Ping(ctx context.Context, server string, o Options) (time.Time, error) {
	domain := domainOf(server)
	sys, err := o.system()
	if err != nil {
		return time.Time{}, err
	}
	o.setTLS(sys, domain)
	user, password, err := Login(server, o)
	if err != nil {
		user, password = "", ""
	}
	sys.DockerAuthConfig = &types.DockerAuthConfig{Username: user, Password: password}
	then := clockOf(ctx, host(domain))
	err = docker.CheckAuth(ctx, sys, user, password, host(domain))
	if err != nil && isUnauthorized(err, registryCode(err)) && user == "" {
		err = nil
	}
	if err == nil && isPage(ctx, host(domain)) {
		return then, notRegistry(server, domain, errors.New("it answers with a page of HTML"))
	}
	return then, o.explainServer(err, server, sys)
}

// isPage tells whether a server that took a question for a registry's has answered it
// as for a browser, at last. What a registry answers has another type, if any.
func isPage(ctx context.Context, host string) bool {
	response := ask(ctx, http.MethodGet, host, nil)
	if response == nil || response.StatusCode != http.StatusOK {
		return false
	}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	return kind == "text/html" && response.Header.Get("Docker-Distribution-Api-Version") == ""
}

// clockPatience is how long a server may take to tell the time, or what it is.
const clockPatience = 5 * time.Second

// clockOf reads the date of a server's answer (RFC 9110, section 6.6.1).
func clockOf(ctx context.Context, host string) time.Time {
	response := ask(ctx, http.MethodHead, host, func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse })
	if response == nil {
		return time.Time{}
	}
	then, _ := http.ParseTime(response.Header.Get("Date"))
	return then
}

// ask gives the head of a server's answer, nil where there is none. Its certificate
// isn't looked at: where the clock is wrong it counts for nothing, and the answer is
// used for nothing but to tell what is amiss.
func ask(ctx context.Context, method, host string, redirect func(*http.Request, []*http.Request) error) *http.Response {
	ctx, cancel := context.WithTimeout(ctx, clockPatience)
	defer cancel()
	client := &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: redirect,
	}
	defer client.CloseIdleConnections()
	for _, scheme := range []string{"https://", "http://"} {
		request, err := http.NewRequestWithContext(ctx, method, scheme+host+"/v2/", nil)
		if err != nil {
			return nil
		}
		response, err := client.Do(request)
		if err != nil {
			continue
		}
		_ = response.Body.Close()
		return response
	}
	return nil
}
