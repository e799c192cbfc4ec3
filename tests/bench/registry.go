package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// registry is Debian's docker-registry on the loopback, with files of its own.
type registry struct {
	address string
	rig     *rig
	dir     string
	process *exec.Cmd
}

func (r *rig) startRegistry() (*registry, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	reg := &registry{address: listener.Addr().String(), rig: r}
	if err := listener.Close(); err != nil {
		return nil, err
	}
	if reg.dir, err = os.MkdirTemp(r.dir, "registry"); err != nil {
		return nil, err
	}
	config := filepath.Join(reg.dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage:\n  filesystem: {rootdirectory: %s/files}\nhttp: {addr: %s}\n",
		reg.dir, reg.address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	reg.process = exec.CommandContext(r.ctx, "docker-registry", "serve", config)
	if err := reg.process.Start(); err != nil {
		return nil, err
	}
	r.registries = append(r.registries, reg)
	return reg, reg.wait()
}

// wait waits until the registry answers.
func (reg *registry) wait() error {
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var response *http.Response
		if response, err = http.Get("http://" + reg.address + "/v2/"); err == nil {
			return response.Body.Close()
		}
	}
	return fmt.Errorf("docker-registry: %w", err)
}

// stop ends the registry and removes its files.
func (reg *registry) stop() error {
	if reg.process == nil {
		return nil
	}
	err := reg.process.Process.Kill()
	_ = reg.process.Wait() // it was killed
	reg.process = nil
	return errors.Join(err, os.RemoveAll(reg.dir))
}
