#!/bin/sh
# go test -exec tests/env/exec.sh: runs a test binary as the unprivileged user.
#
# The user may read neither the checkout nor the directory where go put the
# binary, so both it and what tests read are copied to BUILDER_TEST_DIR, which
# the caller removes when all is done. This process becomes the test itself, so
# that go's signals and timeouts reach it.
set -eu
package=$PWD
cd "$(dirname "$0")/../.."
. tests/env/lib.sh

am_root || { cd "$package"; exec "$@"; }

place=$BUILDER_TEST_DIR/src/${package#"$PWD"}
mkdir -p "$place"
cp "$1" "$place/test"
[ ! -d "$package/testdata" ] || cp -r "$package/testdata" "$place/"
case $package in
*/cmd/builder | */cmd/builder/kaniko) cp -r docs examples "$BUILDER_TEST_DIR/src/" ;; # whose flags they list
*/rootless/emulate) # which compares its numbers
	mkdir -p "$BUILDER_TEST_DIR/src/rootless/chroot/seccomp"
	cp rootless/chroot/seccomp/*.txt "$BUILDER_TEST_DIR/src/rootless/chroot/seccomp/"
	;;
*/tests) cp -r action action.yml "$BUILDER_TEST_DIR/src/" ;; # which a script tries
esac
chown -R "$TEST_USER:$TEST_USER" "$place"
cd "$place"
shift
as_user ./test "$@"
