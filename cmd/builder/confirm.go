package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
)

// agree asks in docker's words whether to go on, unless --force is given. Whoever
// answers anything but y has called it off, which is no error.
func agree(c *cli.Context, warning string) (bool, error) {
	if c.Bool("force") {
		return true, nil
	}
	answer, err := answered(c, warning+"Are you sure you want to continue? [y/N] ")
	return answer == "y", err
}

// confirm asks whether to do something; only yes leads on.
func confirm(c *cli.Context, what string) error {
	if !isTerminal(os.Stdin) {
		return fault.New("say --force where nobody can be asked", "there is no terminal to ask at whether to %s", what)
	}
	switch answer, err := answered(c, fmt.Sprintf("This will %s. Go on? [y/N] ", what)); {
	case err != nil:
		return err
	case answer == "y", answer == "yes":
		return nil
	}
	return errSome
}

// answered asks a question, and gives the line that answers it in small letters:
// nothing, where the input is at its end.
func answered(c *cli.Context, question string) (string, error) {
	if _, err := fmt.Fprint(c.App.Writer, question); err != nil {
		return "", err
	}
	line, err := await(c.Context, func() (string, error) { return bufio.NewReader(os.Stdin).ReadString('\n') })
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return strings.ToLower(strings.TrimSpace(line)), err
}

// await waits for a line from the user, or for a signal: reading a terminal can't
// be called off, and ends with the process.
func await(ctx context.Context, read func() (string, error)) (string, error) {
	type line struct {
		text string
		err  error
	}
	lines := make(chan line, 1)
	go func() {
		text, err := read()
		lines <- line{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case l := <-lines:
		return l.text, l.err
	}
}
