#!/bin/sh
# deb.sh FILE.deb SUITE... installs, uses and removes the package in a clean Debian of
# each suite. It is run by root.

# The hook has a $1 of its own.
# shellcheck disable=SC2016
set -eu
cd "$(dirname "$0")/../.."
. tests/env/lib.sh
deb=$1
shift

dir=$(mktemp -d /var/tmp/builder-packages.XXXXXX)
trap 'rm -rf "${dir:?}"' EXIT
chmod 0755 "$dir"
for suite; do
	tarball=$(tests/env/tree.sh "$suite" 'rm -rf "${1:?}"/var/lib/apt/lists/*')
	mkdir "$dir/root" "$dir/mnt"
	tar -xf "$tarball" -C "$dir/root" --numeric-owner --xattrs --xattrs-include='*'
	install -m 0644 "$deb" "$dir/mnt/builder.deb"
	install -m 0755 tests/packages/deb-inside.sh "$dir/mnt/deb-inside.sh"
	install -m 0644 "$tarball" "$dir/mnt/base.tar"
	tests/env/inside.sh "$dir/root" "$dir/mnt" -- /mnt/deb-inside.sh
	rm -rf "${dir:?}/root" "${dir:?}/mnt"
done
