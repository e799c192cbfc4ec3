package tests

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// htpasswd is the account of a private registry: reader, whose password is
// "secret".
const htpasswd = "reader:$2y$04$mbbb/ODxhBajT69m/CH84O2MeR/I8lz0/05EFIF8lofI29QpHYd9u\n"

// startRegistry starts Debian's docker-registry on the loopback with files of
// its own, waits until it answers, and gives its address. A private one wants a
// login.
func startRegistry(private bool) (address string, stop func(), err error) {
	address, _, stop, err = startLoggedRegistry(private)
	return address, stop, err
}

// startLoggedRegistry is startRegistry, and gives the file in which the registry
// has a line for each request.
func startLoggedRegistry(private bool) (address, requests string, stop func(), err error) {
	port, err := unusedPort()
	if err != nil {
		return "", "", nil, err
	}
	address = fmt.Sprintf("127.0.0.1:%d", port)
	dir, err := os.MkdirTemp(ground.dir, "r")
	if err != nil {
		return "", "", nil, err
	}
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf(`version: 0.1
log: {level: error}
storage:
  filesystem: {rootdirectory: %s}
  delete: {enabled: true}
http: {addr: %s}
`, filepath.Join(dir, "files"), address)
	if private {
		accounts := filepath.Join(dir, "htpasswd")
		if err := os.WriteFile(accounts, []byte(htpasswd), 0o600); err != nil {
			return "", "", nil, err
		}
		text += fmt.Sprintf("auth:\n  htpasswd: {realm: tests, path: %s}\n", accounts)
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return "", "", nil, err
	}

	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return "", "", nil, err
	}
	defer log.Close()
	cmd := exec.Command("docker-registry", "serve", config)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return "", "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	if err := answers("http://" + address + "/v2/"); err != nil {
		stop()
		text, _ := os.ReadFile(log.Name())
		return "", "", nil, fmt.Errorf("docker-registry: %w\n%s", err, text)
	}
	return address, log.Name(), stop, nil
}

// answers waits until a web server answers.
func answers(url string) error {
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var response *http.Response
		if response, err = http.Get(url); err == nil {
			return response.Body.Close()
		}
	}
	return err
}
