// Package roff writes manual pages in the macros of man(7), as groff and mandoc
// read them.
package roff

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Page is a manual page while it is written. The text that its methods take is
// plain, and stands on the page as it is, but for what [Mark] reads.
type Page struct {
	b strings.Builder
	// begun says that a section has only its heading, which parts paragraphs
	// already.
	begun bool
}

// New begins a page, such as builder-pull(1) of builder's manual.
func New(name string, section int, date time.Time, source, manual string) *Page {
	p := &Page{}
	fmt.Fprintf(&p.b, ".TH %q %d %q %s %s\n", strings.ToUpper(name), section,
		date.UTC().Format("2006-01-02"), quoted(source), quoted(manual))
	// Nothing is parted at a hyphen or stretched: names of flags stay whole.
	p.b.WriteString(".nh\n.ad l\n")
	return p
}

// String gives the page's source.
func (p *Page) String() string { return p.b.String() }

// Section begins a section.
func (p *Page) Section(title string) {
	fmt.Fprintf(&p.b, ".SH %s\n", quoted(strings.ToUpper(title)))
	p.begun = true
}

// Name is the section that whatis(1) reads.
func (p *Page) Name(names []string, purpose string) {
	p.Section("name")
	p.fill(escape(strings.Join(names, ", ")) + ` \- ` + escape(purpose))
}

// Paragraph writes lines as one paragraph.
func (p *Page) Paragraph(text string) {
	p.part()
	p.fill(Mark(text))
}

// part begins a paragraph.
func (p *Page) part() {
	if !p.begun {
		p.b.WriteString(".PP\n")
	}
	p.begun = false
}

// Item writes a heading and, set off beneath it, a text.
func (p *Page) Item(head, text string) {
	p.b.WriteString(".TP\n")
	p.line(head)
	p.fill(Mark(text))
}

// Break ends a line where it stands.
func (p *Page) Break() { p.b.WriteString(".br\n") }

// Marked writes text that is marked up already.
func (p *Page) Marked(text string) { p.line(text) }

// Example writes lines as they stand, set off.
func (p *Page) Example(lines []string) {
	p.part()
	p.b.WriteString(".RS 4\n.nf\n")
	for _, line := range lines {
		p.line(escape(line))
	}
	p.b.WriteString(".fi\n.RE\n")
}

// Text writes paragraphs, which blank lines part. Lines that are indented or
// have columns are an example.
func (p *Page) Text(text string) {
	for block := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		lines := strings.Split(strings.Trim(block, "\n"), "\n")
		if asTheyStand(lines) {
			for i, line := range lines {
				lines[i] = strings.TrimPrefix(line, "    ")
			}
			p.Example(lines)
		} else {
			p.Paragraph(strings.Join(lines, " "))
		}
	}
}

func asTheyStand(lines []string) bool {
	for _, line := range lines {
		if strings.HasPrefix(line, " ") || strings.Contains(strings.TrimSpace(line), "  ") {
			return true
		}
	}
	return false
}

// lineWidth is how long the source's lines are at most, where there is a blank
// to break them at.
const lineWidth = 78

// fill writes text that the reader's program sets.
func (p *Page) fill(text string) {
	for len(text) > lineWidth {
		at := strings.LastIndexByte(text[:lineWidth], ' ')
		if at < 0 {
			if at = strings.IndexByte(text, ' '); at < 0 {
				break
			}
		}
		p.line(strings.TrimRight(text[:at], " "))
		text = text[at+1:]
	}
	p.line(text)
}

// line writes a line, which mustn't begin as a request does.
func (p *Page) line(text string) {
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	p.begun = false
	p.b.WriteString(text + "\n")
}

// Bold is plain text in bold.
func Bold(text string) string { return `\fB` + escape(text) + `\fR` }

// Italic is plain text in italics.
func Italic(text string) string { return `\fI` + escape(text) + `\fR` }

var marks = regexp.MustCompile("`[^`]*`|[a-z][a-z0-9.-]*\\([1-8]\\)")

// Mark sets what stands in backquotes in italics, and other pages' names in
// bold.
func Mark(text string) string {
	var b strings.Builder
	at := 0
	for _, m := range marks.FindAllStringIndex(text, -1) {
		b.WriteString(escape(text[at:m[0]]))
		if word := text[m[0]:m[1]]; word[0] == '`' {
			b.WriteString(Italic(strings.Trim(word, "`")))
		} else {
			name, section, _ := strings.Cut(word, "(")
			b.WriteString(Bold(name) + escape("("+section))
		}
		at = m[1]
	}
	return b.String() + escape(text[at:])
}

// escape writes plain text: no escape begins in it, a hyphen is the one of
// flags, and what isn't ASCII is named.
func escape(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r == '\'':
			b.WriteString(`\(aq`)
		case r == '`':
			b.WriteString("\\`")
		case r > '~':
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// quoted is an argument of a macro.
func quoted(text string) string {
	return `"` + strings.ReplaceAll(escape(text), `"`, `\(dq`) + `"`
}
