#!/bin/sh
# Checks all scripts of the repository. actionlint checks by the same program what
# workflows hold of shell.
set -eu
cd "$(dirname "$0")/../.."
. tests/env/lib.sh

need_packages shellcheck
git ls-files -z '*.sh' | xargs -0 shellcheck --external-sources --source-path=SCRIPTDIR
