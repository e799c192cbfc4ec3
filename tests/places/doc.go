// Package places tests builder where its users are: in pods, on clean machines
// with a package missing, on machines that forbid what it needs. Each place has a
// script that makes it, and tests that say what must work there, and what must be
// refused with which words and which remedy; the remedy is then applied, and must
// work.
//
//	pod.sh      a container of a Kubernetes pod, as containerd and runc make it
//	clean.sh    a clean Debian of this machine's kernel, with packages left out
//	machine.sh  a stock Debian in a virtual machine
//
// Making places takes root: `make test-places` runs the tests as root of a test
// machine, or by sudo. A mere `go test ./...` passes over them.
package places
