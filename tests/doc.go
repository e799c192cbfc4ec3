// Package tests holds the end-to-end tests: the real binary, run by an
// unprivileged user on real file systems, with other tools as witnesses.
//
// Each file of testdata/script is one behaviour of the command line, written
// as a testscript; script_test.go says what a script finds, commands_test.go
// which commands it has beyond testscript's own. What needs more than a
// script, such as killing a build at fifty different moments, is a Go test.
//
// `make test-e2e` sees to the user, the Debian packages and the binary.
// `make test-e2e TESTFLAGS='-v -run TestScript/copy'` runs a part.
package tests
