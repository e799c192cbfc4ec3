package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// downloaded is how long the file is that comes through a published port.
const downloaded = 200 << 20

// throughput gives bytes a second of a download from busybox's web server, which
// shows a directory of the host, to curl on the host.
func throughput(helper string) func(*rig, *figure) error {
	return func(r *rig, f *figure) error {
		dir, err := r.served()
		if err != nil {
			return err
		}
		columns := []string{builderFuse}
		if helper != "pasta" { // which Debian's podman 4.3 doesn't know
			columns = append(columns, podmanFuse)
		}
		address := map[*store]string{}
		prepare := func(s *store) (err error) {
			address[s], err = s.serve(dir, helper)
			return err
		}
		return r.onContainers(columns, f, prepare, func(s *store, _ bool) (float64, error) {
			return r.download(address[s])
		})
	}
}

// served makes a directory with the file in it.
func (r *rig) served() (string, error) {
	dir := filepath.Join(r.dir, "served")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	return dir, writeNoise(filepath.Join(dir, "noise"), downloaded)
}

// serve starts a web server in a container, and gives the file's address.
func (s *store) serve(dir, helper string) (string, error) {
	err := s.run("run", "--detach", "--name", "web", "--network", helper, "--publish", "127.0.0.1::80",
		"--volume", dir+":/served:ro", s.base, "httpd", "-f", "-h", "/served")
	if err != nil {
		return "", err
	}
	out, err := s.command("port", "web", "80").Output()
	if err != nil {
		return "", fmt.Errorf("port: %w", err)
	}
	address := "http://" + strings.TrimSpace(string(out)) + "/noise"
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var response *http.Response
		if response, err = http.Head(address); err == nil && response.ContentLength == downloaded {
			return address, response.Body.Close()
		}
	}
	return "", fmt.Errorf("the web server in the container: %w", err)
}

func (r *rig) download(address string) (float64, error) {
	cmd := exec.CommandContext(r.ctx, "curl", "--silent", "--fail", "--noproxy", "*", "--output", "/dev/null",
		"--write-out", "%{size_download} %{speed_download}", address)
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", cmd, err)
	}
	size, speed, _ := strings.Cut(string(out), " ")
	if size != strconv.Itoa(downloaded) {
		return 0, fmt.Errorf("%s: %s bytes instead of %d", cmd, size, downloaded)
	}
	return strconv.ParseFloat(speed, 64)
}
