package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/builder-oci/builder/internal/fault"
)

// ask asks for the user's name and the password, as far as they aren't known.
func (l *loggingIn) ask() error {
	if l.user != "" && l.password != "" {
		return nil
	}
	if !isTerminal(os.Stdin) {
		return fault.New("builder login -u NAME --password-stdin", "Cannot perform an interactive login from a non TTY device")
	}
	if !l.IsSet("username") {
		prompt := "Username: "
		if l.user != "" {
			prompt = fmt.Sprintf("Username (%s): ", l.user)
		}
		if err := l.say("%s", prompt); err != nil {
			return err
		}
		name, err := await(l.Context.Context, func() (string, error) { return bufio.NewReader(os.Stdin).ReadString('\n') })
		if err != nil && err != io.EOF {
			return err
		}
		if name = strings.TrimSpace(name); name != "" {
			l.user = name
		}
	}
	if l.user == "" {
		return fault.New("", "Non-null Username Required")
	}
	if l.password != "" {
		return nil
	}
	return l.askPassword()
}

// askPassword reads a line that the terminal doesn't show, from before it asks for
// it: who is quick mustn't see the beginning.
func (l *loggingIn) askPassword() error {
	fd := int(os.Stdin.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return err
	}
	// Also where what reads the password won't come to it.
	defer func() { _ = term.Restore(fd, before) }()
	if err := hideTyping(fd); err != nil {
		return err
	}
	if err := l.say("Password: "); err != nil {
		return err
	}
	text, err := await(l.Context.Context, func() (string, error) {
		text, err := term.ReadPassword(fd)
		return string(text), err
	})
	if err := l.say("\n"); err != nil {
		return err
	}
	if err != nil && err != io.EOF {
		return err
	}
	if l.password = text; text == "" {
		return fault.New("", "Password Required")
	}
	return nil
}

// hideTyping has a terminal not show what is typed.
func hideTyping(fd int) error {
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return os.NewSyscallError("tcgetattr", err)
	}
	mode.Lflag &^= unix.ECHO
	return os.NewSyscallError("tcsetattr", unix.IoctlSetTermios(fd, unix.TCSETS, mode))
}
