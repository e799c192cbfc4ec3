package fault

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestAtKeepsRemedyCodeAndDetail(t *testing.T) {
	inner := New("sudo make it so", "opening %s: %w", "x", fs.ErrNotExist)
	inner.Code = 7
	inner.Detail = []string{"last line"}
	err := At("Dockerfile:3", inner)
	if got, want := err.Error(), "Dockerfile:3: opening x: file does not exist"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if Remedy(err) != "sudo make it so" || Code(err) != 7 || len(Detail(err)) != 1 {
		t.Errorf("At lost something: remedy %q, code %d, detail %v", Remedy(err), Code(err), Detail(err))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("the cause can't be found any more")
	}
}

func TestAtDoesNotMoveAKnownPlace(t *testing.T) {
	err := At("outer:1", At("inner:2", errors.New("broken")))
	if got, want := err.Error(), "inner:2: broken"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}

func TestCode(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("plain"), CodeOwn},
		{&Error{Err: errors.New("run"), Code: 3}, 3},
	} {
		if got := Code(tc.err); got != tc.want {
			t.Errorf("Code(%v) = %d, want %d", tc.err, got, tc.want)
		}
	}
}

func TestACauseInTheMachineStaysOne(t *testing.T) {
	lack := At("Dockerfile:3", Machine("", "no runtime"))
	for err, want := range map[error]bool{
		lack:                        true,
		fmt.Errorf("run: %w", lack): true,
		&Error{Err: lack, Code: 1}:  true,
		New("", "no such file"):     false,
	} {
		if OfMachine(err) != want {
			t.Errorf("OfMachine(%v) = %v", err, !want)
		}
	}
}
