package roff

import (
	"strings"
	"testing"
	"time"
)

func TestWhatTextsHoldIsNoRequest(t *testing.T) {
	p := New("x", 1, time.Unix(0, 0), "x 1", "Commands")
	p.Section("a")
	p.Text("'quoted' \\fB and .so\n\n    .so /etc/passwd\n    a  b")
	p.Item(Bold("--flag"), "`NAME`, see other(5) – -1.")
	want := `.TH "X" 1 "1970-01-01" "x 1" "Commands"
.nh
.ad l
.SH "A"
\(aqquoted\(aq \efB and .so
.PP
.RS 4
.nf
\&.so /etc/passwd
a  b
.fi
.RE
.TP
\fB\-\-flag\fR
\fINAME\fR, see \fBother\fR(5) \[u2013] \-1.
`
	if p.String() != want {
		t.Errorf("the page is\n%s", p.String())
	}
}

func TestLinesOfTheSourceAreShort(t *testing.T) {
	p := New("x", 1, time.Unix(0, 0), "x 1", "Commands")
	p.Paragraph(strings.Repeat("words and ", 30) + strings.Repeat("x", 200) + " .word")
	for line := range strings.Lines(p.String()) {
		if len(line) > lineWidth+1 && strings.Contains(line, " ") {
			t.Errorf("a line of %d: %s", len(line), line)
		}
		if strings.HasPrefix(line, ".word") {
			t.Error("a word became a request")
		}
	}
}
