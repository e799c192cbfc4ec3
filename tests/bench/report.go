package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// The report stands between these marks; the words around it are written by
// hand.
const (
	beginMark = "<!-- make bench writes from here -->\n"
	endMark   = "<!-- to here -->\n"
)

// table is figures and the columns that they have.
type table struct {
	columns []string
	figures []figure
}

// writeReport replaces what a file has between the marks.
func writeReport(file string, r *rig, tables ...table) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, rest, begun := bytes.Cut(text, []byte(beginMark))
	old, tail, ended := bytes.Cut(rest, []byte(endMark))
	if !begun || !ended {
		return fmt.Errorf("%s lacks the marks %q and %q", file, beginMark, endMark)
	}
	var b bytes.Buffer
	b.Write(head)
	b.WriteString(beginMark)
	fmt.Fprintf(&b, "\n%s\n", machine(r))
	for _, t := range tables {
		b.WriteString("\n")
		if len(t.figures) > 0 {
			t.write(&b)
		} else {
			b.WriteString(t.earlier(string(old)))
		}
	}
	b.WriteString("\n" + endMark)
	b.Write(tail)
	return os.WriteFile(file, b.Bytes(), 0o644)
}

func (t table) writeHead(b *bytes.Buffer) {
	writeRow(b, append([]string{"", "at most"}, t.columns...))
	fmt.Fprintf(b, "|---|---|%s\n", strings.Repeat("---|", len(t.columns)))
}

func (t table) write(b *bytes.Buffer) {
	t.writeHead(b)
	for _, f := range t.figures {
		row := []string{f.name, f.limit}
		for _, column := range t.columns {
			row = append(row, f.cells[column].format(f.unit))
		}
		writeRow(b, row)
	}
}

// earlier gives the table as a former run has written it, and says so.
func (t table) earlier(report string) string {
	var head bytes.Buffer
	t.writeHead(&head)
	_, rows, found := strings.Cut(report, head.String())
	if !found {
		return ""
	}
	rows, _, _ = strings.Cut(rows, "\n\n")
	return "Of an earlier run:\n\n" + head.String() + strings.TrimSuffix(rows, "\n") + "\n"
}

// writeRow writes cells, in which a bar would begin another one.
func writeRow(b *bytes.Buffer, cells []string) {
	for _, cell := range cells {
		fmt.Fprintf(b, "| %s ", strings.ReplaceAll(cell, "|", `\|`))
	}
	b.WriteString("|\n")
}

// machine describes where and with what it was measured.
func machine(r *rig) string {
	return strings.Join([]string{
		fmt.Sprintf("Measured on %s: %d CPUs (%s), %s, %s, on the tmpfs of %s; medians of %d.",
			time.Now().UTC().Format("2006-01-02"), runtime.NumCPU(), processor(),
			firstLine("uname", "-sr"), memory(), parentOf(r.dir), r.runs),
		fmt.Sprintf("%s; %s; %s; %s;", firstLine(r.binary, "--version"), firstLine("buildah", "--version"),
			firstLine("crun", "--version"), lineWith("fuse-overlayfs", "fuse-overlayfs", "--version")),
		fmt.Sprintf("%s; %s; %s; %s.", firstLine("skopeo", "--version"), firstLine("umoci", "--version"),
			firstLine("podman", "--version"), firstLine("docker-registry", "--version")),
	}, "\n")
}

func parentOf(dir string) string { return dir[:strings.LastIndexByte(dir, '/')] }

func firstLine(name string, args ...string) string { return lineWith("", name, args...) }

// lineWith gives the first line that begins with a prefix, of what a command
// prints.
func lineWith(prefix, name string, args ...string) string {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return name + ": " + err.Error()
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, prefix) {
			return strings.TrimSpace(line)
		}
	}
	return name + ": unknown"
}

func processor() string { return procField("/proc/cpuinfo", `(?m)^model name\s*: (.*)$`) }

func memory() string { return procField("/proc/meminfo", `(?m)^MemTotal:\s*(.*)$`) + " of memory" }

func procField(file, expression string) string {
	text, _ := os.ReadFile(file)
	if groups := regexp.MustCompile(expression).FindSubmatch(text); groups != nil {
		return string(groups[1])
	}
	return "unknown"
}
