package stage

import (
	"bytes"
	"io"
	"os"
	"sync"
)

const (
	// tailLines are repeated in the error of a failed command.
	tailLines = 50
	// maxLine bounds what is held of a line that doesn't end.
	maxLine = 16 << 10
	// standing is how much of such a line is shown meanwhile.
	standing = 1 << 10
)

// output takes what a command prints: all of it goes to the log on disk, lines
// go to the report, and the last ones are kept for the error.
type output struct {
	r    *Runner
	at   Step
	file *os.File

	mu      sync.Mutex
	streams []*stream
	last    []string
	err     error
}

// stream is standard output or standard error of the command.
type stream struct {
	o      *output
	stderr bool
	line   []byte
}

func newOutput(r *Runner, at Step, file *os.File) *output {
	o := &output{r: r, at: at, file: file}
	o.streams = []*stream{{o: o}, {o: o, stderr: true}}
	return o
}

func (o *output) stdout() io.Writer { return o.streams[0] }
func (o *output) stderr() io.Writer { return o.streams[1] }

// Write never fails, so that a full disk doesn't break the command's pipe: the
// error is given by Close.
func (s *stream) Write(p []byte) (int, error) {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	if _, err := s.o.file.Write(p); err != nil && s.o.err == nil {
		s.o.err = err
	}
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			s.line = append(s.line, p...)
			if len(s.line) > maxLine {
				s.flush()
			} else {
				s.stand()
			}
			break
		}
		s.line = append(s.line, p[:i]...)
		s.flush()
		p = p[i+1:]
	}
	return n, nil
}

// stand tells of what a line has so far.
func (s *stream) stand() {
	text := s.line[max(0, len(s.line)-standing):]
	s.o.r.Report(Standing{Step: s.o.at, Text: string(text)})
}

func (s *stream) flush() {
	line := string(bytes.TrimSuffix(s.line, []byte("\r")))
	s.line = s.line[:0]
	if len(s.o.last) == tailLines {
		copy(s.o.last, s.o.last[1:])
		s.o.last = s.o.last[:tailLines-1]
	}
	s.o.last = append(s.o.last, line)
	s.o.r.Report(Output{Step: s.o.at, Line: line, Stderr: s.stderr})
}

// Close reports what stands without a line end and closes the log.
func (o *output) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.streams {
		if len(s.line) > 0 {
			s.flush()
		}
	}
	if err := o.file.Close(); o.err == nil {
		o.err = err
	}
	return o.err
}

// tail gives the last lines that the command printed.
func (o *output) tail() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}
