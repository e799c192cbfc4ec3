package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
)

// testCase is one file of testdata; package conformance describes the parts.
type testCase struct {
	name                    string
	setup                   string
	args, env               []string
	config, top             map[string]json.RawMessage
	history, tree           []string // nil where the case doesn't say
	output, error           []string
	hasHistory, hasTree     bool
	files                   []txtar.File
	expectsError, hasConfig bool
}

func readCase(file string) (*testCase, error) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		return nil, err
	}
	c := &testCase{name: strings.TrimSuffix(filepath.Base(file), ".txtar")}
	if len(strings.TrimSpace(string(archive.Comment))) == 0 {
		return nil, fmt.Errorf("%s: which statement does it show?", file)
	}
	for _, f := range archive.Files {
		if err := c.section(f); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, f.Name, err)
		}
	}
	if !c.expectsError && !c.hasTree && !c.hasConfig && !c.hasHistory && len(c.output) == 0 {
		return nil, fmt.Errorf("%s: it expects nothing", file)
	}
	return c, nil
}

func (c *testCase) section(f txtar.File) error {
	switch f.Name {
	case "setup":
		c.setup = string(f.Data)
	case "args":
		c.args = lines(f.Data)
	case "env":
		c.env = lines(f.Data)
	case "config":
		c.hasConfig = true
		return json.Unmarshal(f.Data, &c.config)
	case "top":
		c.hasConfig = true
		return json.Unmarshal(f.Data, &c.top)
	case "history":
		c.history, c.hasHistory = lines(f.Data), true
	case "tree":
		c.tree, c.hasTree = lines(f.Data), true
	case "output":
		c.output = lines(f.Data)
	case "error":
		c.error, c.expectsError = lines(f.Data), true
	default:
		c.files = append(c.files, f)
	}
	return nil
}

func lines(data []byte) []string {
	var list []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			list = append(list, line)
		}
	}
	return list
}

// lay puts the build context into a directory, with modes that don't depend on
// the caller's umask.
func (c *testCase) lay(dir string) error {
	for _, f := range c.files {
		name := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			return err
		}
	}
	script := "umask 022; find . -type d -exec chmod 755 {} +; find . -type f -exec chmod 644 {} +\n" + c.setup
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("setup: %w\n%s", err, out)
	}
	return nil
}
