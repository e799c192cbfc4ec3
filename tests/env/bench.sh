#!/bin/sh
# Measures bin/builder as an unprivileged user and writes the tables of
# docs/performance.md. Arguments go to the benchmark program: -h lists them.
set -eu
cd "$(dirname "$0")/../.."
. tests/env/lib.sh

need_packages "$RUNTIME_PACKAGES" "$BASE_PACKAGES" "$BENCH_PACKAGES"
need_user

dir=$(open_dir)
trap 'rm -rf "${dir:?}"' EXIT
install -D -m 0755 bin/builder "$dir/bin/builder"
go build -o "$dir/bin/bench" ./tests/bench
report=$dir/performance.md
install -m 0666 docs/performance.md "$report"

(as_user "$dir/bin/bench" -builder "$dir/bin/builder" -report "$report" "$@")
cat "$report" >docs/performance.md
say "the tables are in docs/performance.md"
