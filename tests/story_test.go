package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The tutorial as somebody types it, all of it on one terminal: what comes back is
// what he sees. The script of that name looks more closely at what comes of it.
func TestTheTutorialsStoryIsTyped_S15_S16_S17_S18_S20(t *testing.T) {
	s, dir := newContext(t, "FROM nginx\nEXPOSE 80\nCMD [\"nginx\", \"-g\", \"daemon off;\"]\n")
	if err := s.importBase("nginx"); err != nil {
		t.Fatal(err)
	}
	s.must(t, "bud", "-q", "-t", "nginx", dir)
	first, second := newPort(t), newPort(t)
	if err := os.Symlink(ground.binary, filepath.Join(s.dir, "builder")); err != nil {
		t.Fatal(err)
	}
	term := newTerminal(t, s.command("sh", "-c", `PATH=$PWD:$PATH PS1='here> ' exec sh -i`), 132, 60)
	types := func(command string, shows ...string) {
		t.Helper()
		term.types(command + "; echo ended: $?\n")
		term.shows(append(shows, "\nended: 0")...)
		term.types("clear\n")
		term.gone("ended")
	}
	page := func(port int) string {
		return fmt.Sprintf("curl -s --retry 50 --retry-all-errors --retry-delay 1 http://localhost:%d/", port)
	}
	term.shows("here>")
	types(fmt.Sprintf("builder run --name webserver -d -p %d:80 nginx", first))
	types(page(first), "<title>Welcome to nginx!</title>")

	term.types("builder exec -it webserver bash\n")
	term.shows("root@", ":/#")
	term.types("echo '<h1>Hello, Docker!</h1>' > /usr/share/nginx/html/index.html\n")
	term.types("exit\n")
	term.shows("\nexit\nhere>")
	types(page(first), "\n<h1>Hello, Docker!</h1>")

	types("builder diff webserver", "\nC /usr/share/nginx/html/index.html")
	types(`builder commit --author "Tao Wang <twang2218@gmail.com>" --message "a page of our own" webserver nginx:v2`, "\nsha256:")
	types("builder history nginx:v2", "\nIMAGE ", "a page of our own")
	types(fmt.Sprintf("builder run --name web2 -d -p %d:80 nginx:v2", second))
	types(page(second), "\n<h1>Hello, Docker!</h1>")
	types("builder rm -f webserver web2", "\nwebserver\nweb2")
	term.types("exit\n")
	if code := term.ends(); code != 0 {
		t.Errorf("the shell ends with %d", code)
	}
}

func newPort(t *testing.T) int {
	t.Helper()
	port, err := unusedPort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// gone waits until a text stands on the screen no more.
func (term *terminal) gone(text string) {
	term.t.Helper()
	for deadline := time.Now().Add(patience); strings.Contains(term.text(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			term.t.Fatalf("the terminal still shows %q", text)
		}
	}
}
