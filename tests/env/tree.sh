#!/bin/sh
# tree.sh SUITE [PACKAGE|HOOK]... makes a clean Debian of that suite, with these
# packages besides its essential ones and apt, and what each HOOK (a shell command; $1
# is the tree) does to it, and prints the tarball's name. It is kept for thirty days
# under a name made of its arguments, in BUILDER_PLACES_CACHE. As root.

# Hooks have a $1 of their own.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/lib.sh"
suite=$1
shift

cache=${BUILDER_PLACES_CACHE:-/var/cache/builder-places}
tarball=$cache/$suite-$(printf '%s\n' "$@" | sort | sha256sum | cut -c 1-12).tar
mkdir -p "$cache"
# One at a time: tests ask for the same trees at once.
exec 9>"$tarball.lock"
flock 9

if [ -z "$(find "$cache" -maxdepth 1 -name "${tarball##*/}" -mtime -30)" ]; then
	need_packages mmdebstrap debian-archive-keyring >&2
	say "making a clean Debian, $suite, with $*" >&2
	# What is older is made of other arguments, or of packages that have changed.
	find "$cache" "$cache/trees" -maxdepth 1 -name "*$suite-*" -mtime +30 -exec rm -rf {} + 2>/dev/null || :
	set -- "$@" --
	while [ "$1" != -- ]; do
		case $1 in
		*' '*) set -- "$@" "--customize-hook=$1" ;;
		*) set -- "$@" "--include=$1" ;;
		esac
		shift
	done
	shift
	# Proxies of this machine's apt, which mmdebstrap doesn't read.
	for protocol in http https; do
		proxy=$(apt-config dump --format '%v' "Acquire::$protocol::Proxy")
		[ -z "$proxy" ] || set -- "$@" --aptopt="Acquire::$protocol::Proxy \"$proxy\""
	done
	# Without documentation, but what is installed there later brings its own.
	mmdebstrap --quiet --mode=root --variant=minbase --components=main \
		--skip=output/dev \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		"$@" \
		--customize-hook='rm -f "$1"/etc/resolv.conf "$1"/etc/hostname "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap' \
		--format=tar "$suite" "$tarball.part" >&2
	mv "$tarball.part" "$tarball"
fi
printf '%s\n' "$tarball"
