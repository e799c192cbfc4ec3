package main

import (
	"errors"
	"io"
	"os"
	"time"
)

const (
	// lull is how long nothing comes from a program that has ended before its
	// output counts as complete: what it has started may have it open still.
	lull = 100 * time.Millisecond
	// leftover is more than there can be of it then.
	leftover = 1 << 20
)

// show prints what a program prints, until nobody can print any more, or the
// program has ended and all of its own is shown. The error is about to: nobody reads
// that any more.
func show(to io.Writer, from *os.File, ended <-chan struct{}) error {
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-ended:
			_ = from.SetReadDeadline(time.Now())
		case <-over:
		}
	}()
	buffer := make([]byte, 64<<10)
	after, last := 0, false
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if last || after > leftover {
				return nil
			}
			last = true
			_ = from.SetReadDeadline(time.Now().Add(lull))
		case err != nil:
			return nil
		case last:
			if after += n; after > leftover {
				return nil
			}
			_ = from.SetReadDeadline(time.Now().Add(lull))
		}
	}
}
