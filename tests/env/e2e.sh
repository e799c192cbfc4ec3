#!/bin/sh
# Runs the end-to-end tests of bin/builder as an unprivileged user.
# Arguments go to `go test`: -run TestScript/copy, -v.
set -eu
cd "$(dirname "$0")/../.."
. tests/env/lib.sh

need_packages "$RUNTIME_PACKAGES" "$BASE_PACKAGES" "$TEST_PACKAGES"
need_user

BUILDER_TEST_DIR=$(open_dir)
BUILDER_TEST_BINARY=$BUILDER_TEST_DIR/bin/builder
export BUILDER_TEST_DIR BUILDER_TEST_BINARY
trap 'rm -rf "${BUILDER_TEST_DIR:?}"' EXIT
install -D -m 0755 bin/builder "$BUILDER_TEST_BINARY"

# One package after the other: each looks for what its tests leave running.
go test -p 1 -count=1 -timeout 30m -exec "$PWD/tests/env/exec.sh" "$@" ./tests/...
