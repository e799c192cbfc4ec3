package sandbox

import (
	"io"
	"os"
	"os/exec"
	"sync"
)

// streams connects the program's standard streams. What isn't a file goes
// through a pipe of ours, not os/exec's, whose Wait would also wait for
// whatever holds the other end, before we can have killed it.
type streams struct {
	theirs  []*os.File // to be closed when the child has them
	input   *os.File   // our end of the standard input
	copying sync.WaitGroup
}

func (st *streams) connect(cmd *exec.Cmd, s Spec) (err error) {
	defer func() {
		if err != nil {
			st.started()
			st.wait()
		}
	}()
	switch in := s.Stdin.(type) {
	case nil:
	case *os.File:
		cmd.Stdin = in
	default:
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		st.theirs, st.input = append(st.theirs, r), w
		cmd.Stdin = r
		go func() {
			// Ends by itself only at the reader's end; the program's end
			// can't interrupt a Read, only make the next Write fail.
			_, _ = io.Copy(w, in)
			_ = w.Close()
		}()
	}
	if cmd.Stdout, err = st.output(s.Stdout); err != nil {
		return err
	}
	cmd.Stderr, err = st.output(s.Stderr)
	return err
}

func (st *streams) output(w io.Writer) (io.Writer, error) {
	if w == nil {
		return nil, nil
	}
	if f, ok := w.(*os.File); ok {
		return f, nil
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	st.theirs = append(st.theirs, theirs)
	st.copying.Add(1)
	go func() {
		defer st.copying.Done()
		// A writer that fails must not block the program.
		if _, err := io.Copy(w, ours); err != nil {
			_, _ = io.Copy(io.Discard, ours)
		}
		_ = ours.Close()
	}()
	return theirs, nil
}

// started closes the ends that are the child's.
func (st *streams) started() {
	for _, f := range st.theirs {
		_ = f.Close()
	}
}

// wait returns when all output has been passed on.
func (st *streams) wait() {
	if st.input != nil {
		_ = st.input.Close()
	}
	st.copying.Wait()
}
