package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/trust"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
)

const flagCA = "ca"

// trustKey is where a command's authorities are in the app's metadata.
const trustKey = "trust"

// trustAuthorities reads the authorities that the user trusts, and has this process
// believe them, and those that it starts on the machine: git, and builder in the user
// namespace. That one has told of what is odd already when it does so again.
func trustAuthorities(c *cli.Context) error {
	files := authorityFiles(c.StringSlice(flagCA))
	if len(files) == 0 {
		return nil
	}
	found, notes, err := trust.Read(files, time.Now())
	if err != nil {
		return fault.New(fault.Remedy(err), "--%s: %w", flagCA, err)
	}
	c.App.Metadata[trustKey] = found
	if userns.Inside() {
		return nil
	}
	for _, note := range notes {
		tell(c.App.ErrWriter, note)
	}
	dir, err := storage.OpenRunDir()
	if err != nil {
		return err
	}
	env, err := found.Machine(filepath.Join(dir, "trust"))
	if err != nil {
		return err
	}
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("set %s: %w", cmp.Or(name, "a variable"), err)
		}
	}
	return nil
}

// authorityFiles are those of the flags; BUILDER_CA, which is one text, may name
// several, between colons or commas.
func authorityFiles(given []string) []string {
	var files []string
	for _, text := range given {
		if _, err := os.Stat(text); err == nil {
			files = append(files, text)
			continue
		}
		files = append(files, strings.FieldsFunc(text, func(c rune) bool { return c == ':' || c == ',' })...)
	}
	return files
}

// authorities are those that the user trusts.
func authorities(c *cli.Context) trust.Authorities {
	found, _ := c.App.Metadata[trustKey].(trust.Authorities)
	return found
}
