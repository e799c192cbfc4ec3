#!/bin/sh
# tree.sh SUITE prints the name of a tarball that holds a clean Debian of that suite:
# its essential packages and apt, nothing else. It is made by mmdebstrap, as root, and
# kept for thirty days.
set -eu
cd "$(dirname "$0")/../.."
. tests/env/lib.sh
suite=$1
mirror=${BUILDER_TEST_MIRROR:-http://deb.debian.org/debian}

cache=${XDG_CACHE_HOME:-$HOME/.cache}/builder-tests
file=$cache/tree-$suite.tar
if [ -n "$(find "$file" -mtime -30 2>/dev/null)" ]; then
	printf '%s\n' "$file"
	exit
fi

need_packages mmdebstrap debian-archive-keyring >&2
mkdir -p "$cache"
set --
for protocol in http https; do
	proxy=$(apt-config dump --format '%v' "Acquire::$protocol::Proxy")
	[ -z "$proxy" ] || set -- "$@" --aptopt="Acquire::$protocol::Proxy \"$proxy\""
done
as_root mmdebstrap --quiet --mode=root --variant=minbase --skip=output/dev "$@" \
	--customize-hook='rm -rf "${1:?}"/var/lib/apt/lists/* "$1"/etc/resolv.conf "$1"/etc/hostname' \
	--format=tar "$suite" "$file.part.$$" "$mirror" >&2
mv "$file.part.$$" "$file"
printf '%s\n' "$file"
