#!/bin/sh
# Runs the tests that stand beside the code, as an unprivileged user.
# Arguments go to `go test`; PKG names the packages, all of them by default.
set -eu
cd "$(dirname "$0")/../.."
. tests/env/lib.sh

need_packages "$RUNTIME_PACKAGES" "$BASE_PACKAGES" "$TEST_PACKAGES"
need_user

BUILDER_TEST_DIR=$(open_dir)
export BUILDER_TEST_DIR
trap 'rm -rf "${BUILDER_TEST_DIR:?}"' EXIT

# shellcheck disable=SC2086 # PKG may name several
go test -timeout 10m -exec "$PWD/tests/env/exec.sh" "$@" \
	${PKG:-$(go list ./... | grep -v '/tests\(/\|$\)')}
