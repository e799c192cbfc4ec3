#!/bin/sh
# Feeds every fuzz target with new bytes for FUZZTIME, as an unprivileged user: so
# many times, which takes some seconds each. Where a time ends it instead, Go before
# 1.27 may take its own deadline for a fault (go.dev/issue/75804).
# What breaks one is copied to the package's testdata/fuzz, where every further
# run of its tests tries it.
set -eu
cd "$(dirname "$0")/../.."
. tests/env/lib.sh

need_user

dir=$(open_dir)
trap 'rm -rf "${dir:?}"' EXIT

# fuzz PACKAGE TARGET runs one target of a package that stands in $dir.
fuzz() {
	say "$1: $2 for ${FUZZTIME:=10000x}"
	(
		cd "$dir/$1"
		as_user ./test -test.run '^$' -test.fuzz "^$2\$" -test.fuzztime "$FUZZTIME" \
			-test.fuzzminimizetime 10x -test.fuzzcachedir "$dir/$1/cache"
	) && return
	mkdir -p "$1/testdata"
	cp -r "$dir/$1/testdata/fuzz" "$1/testdata/"
	say "what broke it is in $1/testdata/fuzz/$2"
	return 1
}

for package in $(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u); do
	package=${package#./}
	mkdir -p "$dir/$package"
	go test -c -fuzz=. -o "$dir/$package/test" "./$package"
	[ ! -d "$package/testdata" ] || cp -r "$package/testdata" "$dir/$package/"
	! am_root || chown -R "$TEST_USER:$TEST_USER" "$dir/$package"
	# shellcheck disable=SC2013 # no name has a blank in it
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z]*\)(.*/\1/p' "$package"/*_test.go); do
		fuzz "$package" "$target"
	done
done
