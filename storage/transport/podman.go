package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

// The storage of podman and buildah is read and written by these tools
// themselves, as the user has them: they know where it is, by which driver and
// in which version, and its locks. They bring an image as an OCI layout in the
// temporary directory, which is taken up like any other, and get one as an
// archive.
//
// (The library's own way would bring in a second user of such storage, which the
// other versions that builder is pinned to don't go with.)

// storageTool is a program that knows containers-storage, and how it is asked to
// copy an image out and in.
type storageTool struct {
	name     string
	out      func(image, layout string) []string
	in       func(image, archive string) []string
	anyPlace bool // it understands [DRIVER@ROOT+RUNROOT]NAME
}

// storageTools are tried in this order. podman and buildah find short names as
// users know them; what they pull from an archive has the name that it says.
func storageTools() []storageTool {
	push := func(image, layout string) []string { return []string{"push", "-q", image, layout} }
	pull := func(_, archive string) []string { return []string{"pull", "-q", archive} }
	return []storageTool{
		{name: "podman", out: push, in: pull},
		{name: "buildah", out: push, in: pull},
		{
			name: "skopeo", anyPlace: true,
			out: func(image, layout string) []string {
				return []string{"copy", "-q", storageTransport + ":" + image, layout}
			},
			in: func(image, archive string) []string {
				return []string{"copy", "-q", archive, storageTransport + ":" + image}
			},
		},
	}
}

// findTool gives the first tool that is there and understands the image's name.
func findTool(image string) (storageTool, string, error) {
	for _, tool := range storageTools() {
		if strings.HasPrefix(image, "[") && !tool.anyPlace {
			continue
		}
		if path, err := exec.LookPath(tool.name); err == nil {
			return tool, path, nil
		}
	}
	return storageTool{}, "", fault.New("install one of them: apt-get install podman (or buildah, skopeo)\n"+
		"or bring the image over where there is one: podman save NAME | builder load",
		"containers-storage is read by podman, buildah or skopeo, and none of them is here")
}

// fromStorage takes up an image of podman's and buildah's storage.
func (o Options) fromStorage(ctx context.Context, image string, named bool) (_ []layout.Image, err error) {
	dir, err := os.MkdirTemp(o.TempDir, "storage-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	tool, path, err := findTool(image)
	if err != nil {
		return nil, err
	}
	if err := runTool(ctx, dir, path, tool.out(image, "oci:image")); err != nil {
		return nil, err
	}
	copied := filepath.Join(dir, "image")
	found, err := describedIn(copied, "")
	if err != nil {
		return nil, err
	}
	taken, id, err := o.takeFrom(ctx, copied, found, func(manifest []byte, mediaType string) error {
		return o.allowedUnsigned(ctx, place{transport: storageTransport}, manifest, mediaType, image)
	})
	if err != nil {
		return nil, err
	}
	taken.names = storageNames(image)
	return o.settle(ctx, taken, id, named)
}

// storageNames are the names of an image in containers-storage, less its place:
// none where it is called by its id.
func storageNames(image string) []string {
	if at := strings.IndexByte(image, ']'); at >= 0 {
		image = image[at+1:]
	}
	const shortest = 12 // digits of an id that tools print
	if hex := strings.TrimPrefix(strings.TrimPrefix(image, "@"), "sha256:"); len(hex) >= shortest && strings.Trim(hex, "0123456789abcdef") == "" {
		return nil
	}
	name, err := layout.ParseName(image)
	if err != nil {
		return nil
	}
	return []string{name}
}

// toStorage copies an image into podman's and buildah's storage.
func (o Options) toStorage(ctx context.Context, img layout.Image, image string) (err error) {
	tool, path, err := findTool(image)
	if err != nil {
		return err
	}
	names := storageNames(image)
	if len(names) == 0 {
		return fault.New("name it as in containers-storage:app:v1", "%q is no name for an image", image)
	}
	dir, err := os.MkdirTemp(o.TempDir, "storage-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	const archive = "image.tar"
	img.Name = names[0]
	if err := o.writeArchive(ctx, img, DockerArchive, filepath.Join(dir, archive)); err != nil {
		return err
	}
	return runTool(ctx, dir, path, tool.in(image, DockerArchive+":"+archive))
}

// runTool runs a tool in a directory, and gives the end of what it complained of.
func runTool(ctx context.Context, dir, path string, args []string) error {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	var said bytes.Buffer
	cmd.Stderr = &said
	err := cmd.Run()
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	const most = 5
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(said.String()), "\n"), func(line string) bool {
		return strings.Contains(line, "level=warning")
	})
	if len(lines) > most {
		lines = lines[len(lines)-most:]
	}
	tool := filepath.Base(path)
	return &fault.Error{
		Err: fmt.Errorf("%s %s: %w", tool, args[0], err), Detail: lines,
		Remedy: "see whether it does that by itself: " + tool + " " + strings.Join(args[:len(args)-1], " ") + " …",
	}
}
