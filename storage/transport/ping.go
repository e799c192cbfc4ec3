package transport

import (
	"context"
	"crypto/tls"
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
	return then, o.explain(err, &remote{name: server, domain: domain, sys: sys})
}

// clockPatience is how long a server may take to tell the time.
const clockPatience = 5 * time.Second

// clockOf reads the date of a server's answer (RFC 9110, section 6.6.1). Its
// certificate isn't looked at: where the clock is wrong it counts for nothing, and
// nothing else of the answer is used.
func clockOf(ctx context.Context, host string) time.Time {
	ctx, cancel := context.WithTimeout(ctx, clockPatience)
	defer cancel()
	client := &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	defer client.CloseIdleConnections()
	for _, scheme := range []string{"https://", "http://"} {
		request, err := http.NewRequestWithContext(ctx, http.MethodHead, scheme+host+"/v2/", nil)
		if err != nil {
			return time.Time{}
		}
		response, err := client.Do(request)
		if err != nil {
			continue
		}
		_ = response.Body.Close()
		then, _ := http.ParseTime(response.Header.Get("Date"))
		return then
	}
	return time.Time{}
}
