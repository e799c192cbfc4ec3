#!/bin/sh
# gobase.sh TREE.tar FILE makes, of a clean Debian, what golang's image is for the
# Dockerfile, as a tarball: make and this machine's Go in it. In /seed are the modules
# and compiled packages that builder consists of, so that a build in it only compiles
# what has changed. It is run by root.
set -eu
cd "$(dirname "$0")/../.."
tree=$1
file=$2

dir=$(mktemp -d /var/tmp/builder-packages.XXXXXX)
trap 'chmod -R u+w "$dir"; rm -rf "${dir:?}"' EXIT
chmod 0755 "$dir"
tar -xf "$tree" -C "$dir" --numeric-owner
tests/env/inside.sh "$dir" -- sh -ec '
	apt-get update -q && apt-get install -q -y --no-install-recommends make ca-certificates
	apt-get clean && rm -rf /var/lib/apt/lists/*' >/dev/null
mkdir -p "$dir/usr/local/go" "$dir/seed/build" "$dir/seed/modules"
tar -C "$(go env GOROOT)" -c --exclude=./test --exclude=./doc --exclude=./api --exclude=testdata . |
	tar -xC "$dir/usr/local/go"
ln -s ../go/bin/go "$dir/usr/local/bin/go"
GOCACHE=$dir/seed/build GOMODCACHE=$dir/seed/modules GOPROXY=file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY) \
	make -s compile BINARY="$dir/built" GOOS=linux >/dev/null
find "$dir/seed/modules" \( -path '*/cache/download/*.zip' -o -name '*_test.go' \) -delete
find "$dir/seed/modules" -type d -name testdata -prune -exec rm -rf {} +
rm "$dir/built"
tar -C "$dir" -cf "$file.part" --numeric-owner .
mv "$file.part" "$file"
