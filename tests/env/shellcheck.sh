#!/bin/sh
# Checks the action's scripts, which run on machines of all kinds, and this one's like.
# actionlint checks by the same program what workflows hold of shell.
set -eu
cd "$(dirname "$0")/../.."
. tests/env/lib.sh

need_packages shellcheck
shellcheck --external-sources --source-path=SCRIPTDIR action/*.sh
