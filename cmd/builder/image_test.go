package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/storage/layout"
)

func TestImagesAreListedAsDockerDoes(t *testing.T) {
	now := time.Date(2019, 3, 12, 15, 0, 0, 0, time.UTC)
	list := []layout.Image{
		{Name: "docker.io/my/centos_with_python:v1.0.1", ID: anID, Created: now.Add(-23 * time.Minute), Size: 279_412_345},
		{Name: "docker.io/library/mysql:latest", ID: anID, Created: now.Add(-7 * 24 * time.Hour), Size: 477_000_000},
		{Name: "localhost:5000/app@" + anID.String(), ID: anID, Created: now, Size: 999},
		{ID: anID, Size: 0},
	}
	const want = `REPOSITORY              TAG       IMAGE ID       CREATED                  SIZE
my/centos_with_python   v1.0.1    0123456789ab   23 minutes ago           279MB
mysql                   latest    0123456789ab   7 days ago               477MB
localhost:5000/app      <none>    0123456789ab   Less than a second ago   999B
<none>                  <none>    0123456789ab   N/A                      0B
`
	var out bytes.Buffer
	if err := format.Rows(&out, imageRows(list, format.ShortID, now)); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Errorf("printed:\n%s\nnot:\n%s", &out, want)
	}
	if got := imageRows(list, digest.Digest.String, now)[1][2]; got != anID.String() {
		t.Errorf("the whole id is %q", got)
	}
}

func TestImagesAreFoundByRepositoryOrName(t *testing.T) {
	img := layout.Image{Name: "docker.io/library/ubuntu:16.04"}
	for name, want := range map[string]bool{"ubuntu": true, "ubuntu:16.04": true, "ubuntu:18.04": false, "buntu": false} {
		if named(img, name) != want {
			t.Errorf("%q: %t", name, !want)
		}
	}
}

func TestHelpFitsTheScreen(t *testing.T) {
	app := newApp(io.Discard, io.Discard)
	checkScreen(t, programName, app.CustomAppHelpTemplate, 24, 80)
	var check func(commands []*cli.Command)
	check = func(commands []*cli.Command) {
		for _, c := range commands {
			checkScreen(t, c.Name, c.CustomHelpTemplate, 40, 100)
			check(c.Subcommands)
		}
	}
	check(app.Commands)
}

func checkScreen(t *testing.T, name, text string, lines, columns int) {
	t.Helper()
	all := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(all) > lines {
		t.Errorf("the help of %s has %d lines", name, len(all))
	}
	for _, line := range all {
		if len(line) > columns {
			t.Errorf("the help of %s has a line of %d columns: %s", name, len(line), line)
		}
	}
}
