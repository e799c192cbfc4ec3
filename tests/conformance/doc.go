// Package conformance holds the Dockerfile's language, row by row of its
// reference: each file of testdata is one statement with a build that shows it.
//
// A case is a txtar archive. Its comment says which statement of the reference
// it holds up, or why the outcome is what it is where the reference is silent.
// Its sections:
//
//	Dockerfile  the file that is built
//	setup       a shell script that is run in the context: links, modes
//	args        further arguments of `builder bud`, one a line
//	env         NAME=VALUE, a line each, in builder's environment
//	config      members that the image's config has to have, as JSON; null
//	            means that there is none
//	top         the same for the members beside "config", history left out
//	history     created_by of the entries that the build added, one a line
//	tree        the files in which the image differs from its base, by path
//	output      regular expressions, a line each, for what the build prints
//	error       the same, for a build that has to fail
//
// and all others are files of the build context, which is the directory
// case/NAME where builder runs; a web server at $SERVER has it as /NAME. A line
// of tree is
//
//	-rw-r--r-- 0:0 /path "content"
//	drwxr-xr-x 0:0 /directory
//	lrwxrwxrwx 0:0 /link -> target
//	gone /path
//
// Each case is built by every storage driver, cold and cached, one stage at a
// time and many, and has to give the same manifest each time.
//
// `make test-e2e` runs it with the other end-to-end tests;
// `make test-e2e TESTFLAGS='-run TestConformance/copy'` a part.
package conformance
