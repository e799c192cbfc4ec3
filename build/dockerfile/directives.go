package dockerfile

import (
	"bufio"
	"bytes"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// byteOrderMark may stand before UTF-8 text and means nothing.
var byteOrderMark = []byte("\ufeff")

// checkText refuses what is no text of instructions at all, and lines that the
// parser can't hold: inside a here-document it would miss that document's end.
func checkText(name string, src []byte) error {
	switch {
	case len(bytes.TrimSpace(src)) == 0:
		return faultAt(name, "begin it with FROM and the image to build upon, such as: FROM debian:12", "the file is empty")
	case bytes.HasPrefix(src, []byte{0xff, 0xfe}), bytes.HasPrefix(src, []byte{0xfe, 0xff}):
		return faultAt(name, "save it as UTF-8", "the file is UTF-16 text")
	case bytes.IndexByte(src, 0) >= 0:
		return faultAt(name, "name the Dockerfile by --file", "the file is binary, no Dockerfile")
	}
	line := 0
	for text := range bytes.Lines(src) {
		if line++; len(text) >= bufio.MaxScanTokenSize {
			return faultAt(place(name, line, string(text[:2*placeWidth])), "break it up, or put the text into a file and COPY that",
				"the line is longer than %d bytes", bufio.MaxScanTokenSize-1)
		}
	}
	return nil
}

// checkDirectives looks at "# syntax=" and "# escape=". The parser counts the
// lines of their errors from zero, so they are found here first.
func checkDirectives(name string, src []byte, buildArgs map[string]string) error {
	if frontEnd := buildArgs["BUILDKIT_SYNTAX"]; frontEnd != "" && !isDockerfileFrontEnd(frontEnd) {
		return unknownFrontEnd("--build-arg BUILDKIT_SYNTAX="+frontEnd, frontEnd)
	}
	if frontEnd, _, at, ok := parser.DetectSyntax(src); ok && !isDockerfileFrontEnd(frontEnd) {
		line := 1
		if len(at) > 0 {
			line = at[0].Start.Line
		}
		return unknownFrontEnd(place(name, line, sourceLine(src, line)), frontEnd)
	}
	var directives parser.DirectiveParser
	line := 0
	for text := range bytes.Lines(src) {
		line++
		d, err := directives.ParseLine(bytes.TrimSpace(text))
		if err != nil {
			return faultAt(place(name, line, string(text)), "", "%w", tidy(err))
		}
		if d == nil {
			return nil
		}
		if d.Name == "escape" && d.Value != "`" && d.Value != `\` {
			return faultAt(place(name, line, string(text)), "choose ` or \\", "%q can't be the escape character", d.Value)
		}
	}
	return nil
}

func unknownFrontEnd(at, frontEnd string) error {
	return faultAt(at,
		"if the file is an ordinary Dockerfile, remove the directive or write docker/dockerfile:1",
		"builder reads Dockerfiles itself and runs no other front end such as %q", frontEnd)
}

// isDockerfileFrontEnd says whether an image is a version of the Dockerfile
// front end whose language builder reads; mirrors of it count.
func isDockerfileFrontEnd(image string) bool {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return false
	}
	path := "/" + reference.Path(named)
	return strings.HasSuffix(path, "/docker/dockerfile") || strings.HasSuffix(path, "/docker/dockerfile-upstream")
}
