#!/bin/sh
# pod.sh [FLAG]... [--] [COMMAND...] runs a command as a container of a Kubernetes
# pod runs, by runc and without a cluster. As root. `pod.sh --help` lists the flags,
# which are named after the fields of a pod's manifest. The image is a Debian with
# builder and what it uses, and a user 1001 of subordinate ids, unless --tree names
# another tarball; the binary is bin/builder, unless --builder names another.
#
#   pod.sh builder info                               # a pod whose manifest says nothing
#   pod.sh --uid 1001 --drop --no-new-privs sh        # the restricted profile
#   pod.sh --host-users=false --unmasked --fuse builder doctor

# Hooks of tree.sh have a $1 of their own.
# shellcheck disable=SC2016
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${BUILDER_PLACES_CACHE:-/var/cache/builder-places}
mkdir -p "$cache"

# newuidmap with setuid writes no mapping in a container: that would take
# CAP_SYS_ADMIN in its bounding set. With a file capability it does. The user's
# ranges are such that a pod with a user namespace of its own has them too.
tree=$("$here/../env/tree.sh" trixie ca-certificates crun fuse-overlayfs uidmap passt git procps \
	'chroot "$1" useradd --uid 1001 --create-home --shell /bin/sh builder' \
	'printf "builder:1:1000\nbuilder:1002:64534\n" | tee "$1"/etc/subuid >"$1"/etc/subgid' \
	'chmod u-s "$1"/usr/bin/newuidmap "$1"/usr/bin/newgidmap' \
	'setcap cap_setuid+ep "$1"/usr/bin/newuidmap && setcap cap_setgid+ep "$1"/usr/bin/newgidmap')
program=${BUILDER_POD-}
if [ -z "$program" ]; then
	program=$cache/pod-$(printf '%s' "$root" | cksum | cut -d ' ' -f 1)
	(cd "$root" && CGO_ENABLED=0 go build -o "$program" ./tests/places/pod)
fi

# Everything mounted and started goes when this ends, even by kill -9.
exec unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
	"$program" --cache "$cache" --tree "$tree" --builder "${BUILDER:-$root/bin/builder}" "$@"
