#!/bin/sh
# Runs the tests of tests/places: bin/builder in pods, on clean Debians and on a stock
# one in a virtual machine. They make these places as root of this machine, which has
# to be one for tests. Arguments go to `go test`: -short leaves out the virtual
# machine, -update writes docs/places.md's table.
set -eu
cd "$(dirname "$0")/../.."
. tests/env/lib.sh

case " $* " in
*" -short "*)
	if ! am_root && ! command -v sudo >/dev/null; then
		say "no places are made: that takes root or sudo"
		exit
	fi
	;;
esac
need_packages mmdebstrap busybox-static runc libcap2-bin
need_device /dev/fuse 10 229
need_device /dev/net/tun 10 200

# What root shouldn't have to compile.
go build -o bin/pod ./tests/places/pod
(cd tests/kubernetes && go build -o ../../bin/podflags ./podflags)
case " $* " in
*" -short "*) verbose= ;;
*)
	verbose=-v # the table and what doctor says are shown, also when all is well
	# The virtual machine's, with what is installed there.
	need_packages qemu-system-x86 openssh-client e2fsprogs
	go test -c -o bin/tests.test ./tests
	[ -n "${BUILDER_DEB-}" ] || make release RELEASE_ARCHES="$(go env GOARCH)"
	BUILDER_DEB=${BUILDER_DEB-$(ls "$PWD"/dist/release/*.deb)}
	;;
esac
BUILDER_PLACES=1 BUILDER=$PWD/bin/builder BUILDER_POD=$PWD/bin/pod BUILDER_PODFLAGS=$PWD/bin/podflags
BUILDER_TESTS=$PWD/bin/tests.test
names=BUILDER_PLACES,BUILDER,BUILDER_POD,BUILDER_PODFLAGS,BUILDER_TESTS,BUILDER_DEB
export BUILDER_PLACES BUILDER BUILDER_POD BUILDER_PODFLAGS BUILDER_TESTS BUILDER_DEB
exec=
am_root || exec="-exec=sudo --preserve-env=$names"
go test ${verbose:+"$verbose"} -count=1 -timeout 90m ${exec:+"$exec"} ./tests/places "$@"
