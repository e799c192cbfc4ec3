#!/bin/sh
# shellcheck disable=SC2016 # what stands in single quotes is for apt-get and mmdebstrap
# distribution.sh FILE [HOOK|PACKAGE]... makes a root file system of this machine's own
# distribution, as a tarball, without root: what a slim base image of it holds,
# the packages, and what each HOOK (a shell command; $1 is the tree) does to it.
# The mirrors are those of this machine's apt.
set -eu
file=$1
shift

suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
sources=$(apt-get indextargets --format '$(ORIGIN) deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
	'Created-By: Packages' |
	sed -n "s/^\(Debian\|Ubuntu\) \(deb [^ ]* $suite\)/\2/p" | sort -u)
[ -n "$sources" ] || { echo "apt knows no mirror of $suite; run apt-get update" >&2; exit 1; }

set -- "$@" --
while [ "$1" != -- ]; do
	case $1 in
	*' '*) set -- "$@" "--customize-hook=$1" ;;
	*) set -- "$@" "--include=$1" ;;
	esac
	shift
done
shift
for protocol in http https; do
	proxy=$(apt-config dump --format '%v' "Acquire::$protocol::Proxy")
	[ -z "$proxy" ] || set -- "$@" --aptopt="Acquire::$protocol::Proxy \"$proxy\""
done

# Without documentation and package lists, as the images on registries are;
# mount points stay, devices can't be made without root.
printf '%s\n' "$sources" | mmdebstrap --quiet --mode=unshare --variant=minbase \
	--skip=output/dev \
	--dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/doc/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	"$@" \
	--customize-hook='rm -rf "${1:?}"/var/lib/apt/lists/* "$1"/etc/resolv.conf "$1"/etc/hostname' \
	--format=tar "$suite" "$file.part" -
mv "$file.part" "$file"
