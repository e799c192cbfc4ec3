package tests

import (
	"os"
	"strings"
	"testing"
)

// On a terminal name and password are asked for, and the password isn't shown.
func TestLoginOnATerminal(t *testing.T) {
	s, _ := newContext(t, "")
	registry, stop, err := startRegistry(true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	term := newTerminal(t, s.command("builder", "login", registry), 100, 30)
	term.shows("Username:")
	term.types("reader\r")
	term.shows("Password:")
	term.types("secret\r")
	if code := term.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	text := term.shows("Login Succeeded")
	if strings.Contains(text, "secret") {
		t.Errorf("the password is on the screen:\n%s", text)
	}

	// The login that is there is taken; one that isn't good any more is asked for
	// again, with its name offered.
	file := s.env()["XDG_RUNTIME_DIR"] + "/containers/auth.json"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.Replace(string(data), "cmVhZGVyOnNlY3JldA==", "cmVhZGVyOndyb25n", 1) // reader:wrong
	if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	term = newTerminal(t, s.command("builder", "login", registry), 100, 30)
	term.shows("Authenticating with existing credentials", "incorrect username or password", "Username (reader):")
	term.types("\r")
	term.shows("Password:")
	term.types("secret\r")
	if code := term.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	term.shows("Login Succeeded")
}

// Ctrl-C at the password ends builder, and the terminal shows again what is typed.
func TestLoginInterrupted(t *testing.T) {
	s, _ := newContext(t, "")
	term := newTerminal(t, s.command("sh", "-c", "trap : INT; builder login -u reader 127.0.0.1:1; echo ended $?; read line; echo got $line"), 80, 24)
	term.shows("Password:")
	term.types("\x03")
	term.shows("interrupted", "ended 130")
	term.types("visible\r")
	if code := term.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if text := term.shows("got visible"); strings.Count(text, "visible") != 2 {
		t.Errorf("what is typed isn't shown:\n%s", text)
	}
}
