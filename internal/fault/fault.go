// Package fault is the error that a user reads: where it happened, why, and
// what to do about it. Rooms make one where they know cause and remedy;
// cmd/builder alone prints it.
package fault

import (
	"errors"
	"fmt"
)

// CodeOwn is the exit code of a failure of builder itself, as docker has it.
const CodeOwn = 125

// Error is one failure with its place, cause and remedy.
type Error struct {
	// Place is where it happened: "Dockerfile:3: RUN make". It may be empty.
	Place string
	// Err is the cause, in lower case.
	Err error
	// Remedy is what the user can do, possibly several lines of shell. It is
	// empty where none is known.
	Remedy string
	// Code is the process's exit code; zero stands for CodeOwn.
	Code int
	// Detail is printed below the error, such as the end of a command's output.
	Detail []string
	// Machine says that the cause lies in how this machine is set up.
	Machine bool
}

// New makes an Error from a remedy (which may be empty) and a cause.
func New(remedy, format string, args ...any) *Error {
	return &Error{Err: fmt.Errorf(format, args...), Remedy: remedy}
}

// Machine is New for a cause that lies in how this machine is set up.
func Machine(remedy, format string, args ...any) *Error {
	e := New(remedy, format, args...)
	e.Machine = true
	return e
}

// NotYet says that something docker or buildah has isn't here.
func NotYet(what string) *Error { return New("", "%s is not supported yet", what) }

// Error gives place and cause on one line, without the remedy.
func (e *Error) Error() string {
	if e.Place == "" {
		return e.Err.Error()
	}
	return e.Place + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// At says where err happened, unless that is known already. Remedy, code and
// detail of err are kept.
func At(place string, err error) error {
	if err == nil || place == "" {
		return err
	}
	var known *Error
	if !errors.As(err, &known) {
		return &Error{Place: place, Err: err}
	}
	if known.Place != "" {
		return err
	}
	return &Error{Place: place, Err: err, Remedy: known.Remedy, Code: known.Code, Detail: known.Detail}
}

// Remedy gives what the user can do about err, or "".
func Remedy(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Remedy != "" {
			return e.Remedy
		}
		err = e.Err
	}
	return ""
}

// OfMachine tells whether the cause of err lies in how this machine is set up.
func OfMachine(err error) bool {
	var e *Error
	for errors.As(err, &e) {
		if e.Machine {
			return true
		}
		err = e.Err
	}
	return false
}

// Detail gives the lines to print below err.
func Detail(err error) []string {
	var e *Error
	if errors.As(err, &e) {
		return e.Detail
	}
	return nil
}

// Code gives the exit code that err asks for; zero for a nil error.
func Code(err error) int {
	if err == nil {
		return 0
	}
	var e *Error
	if errors.As(err, &e) && e.Code != 0 {
		return e.Code
	}
	return CodeOwn
}
