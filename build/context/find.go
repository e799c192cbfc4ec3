package context

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
)

// dockerfileNames are looked for where none is named, in this order.
var dockerfileNames = []string{"Dockerfile", "Containerfile"}

// FindDockerfile reads the build's Dockerfile. flag is the value of --file: a
// path seen from the working directory or, where nothing is there, from the
// context; "" looks for Dockerfile, then Containerfile in the context. name is
// how errors and progress call it. Where none is found, a *fault.Error says
// which names were tried. A file that lies in the context may be a link, but
// must not lead out of it: what a stranger's repository brings along decides
// nothing about the host's files.
func FindDockerfile(contextDir, flag string) (path string, src []byte, name string, err error) {
	if flag != "" {
		return findNamed(contextDir, flag)
	}
	for _, name := range dockerfileNames {
		path := filepath.Join(contextDir, name)
		src, err := readDockerfile(contextDir, path)
		if err == nil {
			return path, src, name, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", nil, "", unreadableDockerfile(path, path, err)
		}
	}
	remedy := "name another file by --file, or another context directory"
	if st, err := os.Stat(contextDir); err != nil || !st.IsDir() {
		remedy = contextDir + " is no directory: name the one that COPY takes its files from, such as ."
	}
	return "", nil, "", fault.New(remedy, "there is no %s in %s", strings.Join(dockerfileNames, " or "), contextDir)
}

// findNamed reads the file that --file names.
func findNamed(contextDir, flag string) (path string, src []byte, name string, err error) {
	tried := []string{flag}
	if !filepath.IsAbs(flag) {
		tried = append(tried, filepath.Join(contextDir, flag))
	}
	for _, path := range tried {
		src, err := readDockerfile(contextDir, path)
		if err == nil {
			return path, src, flag, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", nil, "", unreadableDockerfile(path, path, err)
		}
	}
	return "", nil, "", fault.New("--file is seen from the working directory, then from the context",
		"there is no Dockerfile at %s", strings.Join(tried, " or "))
}

// readDockerfile reads a file by its name alone where it lies outside the
// context, as the user named it himself, and through the context where inside.
func readDockerfile(contextDir, path string) ([]byte, error) {
	inside, err := insideOf(contextDir, path)
	if err != nil || inside == "" {
		src, readErr := os.ReadFile(path) // the user named it
		return src, errors.Join(err, readErr)
	}
	if _, err := os.Lstat(path); err != nil {
		return nil, err
	}
	d := &Dir{}
	if d.root, err = filepath.Abs(contextDir); err != nil {
		return nil, err
	}
	if d.fd, err = openRoot(d.root); err != nil {
		return nil, err
	}
	d.byParts = !d.haveOpenat2()
	src, err := d.readInside(inside)
	if errors.Is(err, fs.ErrNotExist) {
		err = fault.New("name the file itself by --file", "it is a link that leads out of the build context")
	}
	return []byte(src), errors.Join(err, d.Close())
}

// insideOf is the path as seen from a directory, "" where it isn't in it.
func insideOf(dir, path string) (string, error) {
	absDir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	absPath, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(absDir, absPath)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", err
	}
	return rel, nil
}

// unreadableDockerfile says what is wrong with a Dockerfile, by what the user calls
// it.
func unreadableDockerfile(path, called string, err error) error {
	if st, statErr := os.Stat(path); statErr == nil && st.IsDir() {
		return fault.New("name the file in it", "%s is a directory, no Dockerfile", called)
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return fault.At(called, err)
	}
	return fault.New("", "%w", err)
}
