package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/internal/fault"
)

// inAction tells whether a runner of GitHub's Actions reads what is printed, and
// shows what the commands below tell it beside the file's lines.
func inAction() bool { return os.Getenv("GITHUB_ACTIONS") == "true" }

// annotate tells the runner of the linter's warnings.
func annotate(w io.Writer, l build.Linted) {
	if !inAction() {
		return
	}
	for _, warning := range l.Warnings {
		_, _ = fmt.Fprintf(w, "::warning file=%s,line=%d,endLine=%d,title=%s::%s\n",
			actionProperty(inWorkspace(l)), warning.Line, warning.EndLine, actionProperty(warning.Rule),
			actionText.Replace(warning.Text+": "+warning.Remedy))
	}
}

// inWorkspace is the Dockerfile as seen from the checkout.
func inWorkspace(l build.Linted) string {
	if l.Path == "" {
		return l.File
	}
	path, err := filepath.Abs(l.Path)
	if err != nil {
		return l.Path
	}
	rel, err := filepath.Rel(os.Getenv("GITHUB_WORKSPACE"), path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return l.Path
	}
	return rel
}

// actionText writes text as a runner's commands take it.
var actionText = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")

// actionProperty writes a property of a runner's command.
func actionProperty(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(actionText.Replace(s))
}

// placed is an error that says where in a Dockerfile it happened.
var placed = regexp.MustCompile(`(?s)^(\S+):([0-9]+): (.*)`)

// annotateError tells the runner what a build has ended with, unless another process
// has said so.
func annotateError(w io.Writer, err error, o build.Options) {
	if _, err = splitStatus(err); err == nil || !inAction() {
		return
	}
	text := printable(strings.TrimSpace(err.Error()))
	properties := "title=" + programName
	if found := placed.FindStringSubmatch(text); found != nil {
		file := build.Linted{File: found[1], Path: found[1]}
		if beside := filepath.Join(o.ContextDir, found[1]); (o.Dockerfile == "" || !exists(found[1])) && exists(beside) {
			file.Path = beside
		}
		properties = fmt.Sprintf("file=%s,line=%s,title=%s", actionProperty(inWorkspace(file)), found[2], programName)
		text = found[3]
	}
	if remedy := strings.TrimSpace(fault.Remedy(err)); remedy != "" {
		text += "\n" + printable(remedy)
	}
	_, _ = fmt.Fprintf(w, "::error %s::%s\n", properties, actionText.Replace(text))
}

// runnerCommand is what the runner takes for a command of its own: a line, which may end by a
// carriage return, that begins with two colons, or has the older form anywhere.
var runnerCommand = regexp.MustCompile(`((?:^|[\r\n\x{85}\x{2028}\x{2029}])[\s\p{Z}\p{Cc}\p{Cf}]*)::|##\[`)

// noCommand changes a text that others have written, such as what a RUN prints, so that
// it tells the runner nothing: else a base image could set the job's outputs.
func noCommand(text string) string {
	if !strings.Contains(text, "::") && !strings.Contains(text, "##[") {
		return text
	}
	return runnerCommand.ReplaceAllStringFunc(text, func(found string) string {
		if before, ok := strings.CutSuffix(found, "::"); ok {
			return before + "| ::"
		}
		return "##|["
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
