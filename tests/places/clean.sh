#!/bin/sh
# clean.sh [--without PACKAGE]... [--bind SOURCE:TARGET]... SUITE SCRIPT runs a shell
# script as root on a clean Debian of that suite: its own tree, /home, /proc, /run and
# processes; the devices, network and kernel of this machine. The tree has what
# builder uses, less the packages named, and an ordinary user, ann, with
# subordinate ids; in the script, `ann COMMAND...` runs a command as she would.
# builder is bin/builder, unless BUILDER names another. As root.
#
#   clean.sh trixie 'ann builder info'
#   clean.sh --without uidmap bookworm 'ann builder info; apt-get install -y uidmap; ann builder info'

# Hooks of tree.sh have a $1 of their own.
# shellcheck disable=SC2016
set -eu
if [ "${1-}" != --inside ]; then
	# Everything mounted and started goes when this ends, even by kill -9.
	dir=$(mktemp -d "${BUILDER_PLACES_CACHE:-/var/cache/builder-places}/clean.XXXXXX")
	trap 'rm -rf "${dir:?}"' EXIT
	chmod 0755 "$dir"
	unshare --mount --pid --fork --kill-child --propagation private "$0" --inside "$dir" "$@" && exit
	exit $?
fi
dir=$2
shift 2

here=$(cd "$(dirname "$0")" && pwd)
builder=${BUILDER:-$here/../../bin/builder}
without='' binds=''
while :; do
	case $1 in
	--without) without="$without $2" ;;
	--bind) binds="$binds $2" ;;
	*) break ;;
	esac
	shift 2
done
suite=$1 script=$2

tarball=$("$here/../env/tree.sh" "$suite" ca-certificates crun fuse-overlayfs uidmap passt libcap2-bin \
	'chroot "$1" useradd --uid 1000 --create-home --shell /bin/sh ann' \
	'echo ann:100000:65536 | tee "$1"/etc/subuid >"$1"/etc/subgid')
tree=${tarball%/*}/trees/$(basename "$tarball" .tar)
mkdir -p "$tree"
exec 9>"$tree.lock"
flock 9
if [ "$(stat -c %Y "$tree")" != "$(stat -c %Y "$tarball")" ]; then
	rm -rf "${tree:?}"
	mkdir "$tree"
	tar -x -p --numeric-owner --xattrs --xattrs-include='*' -C "$tree" -f "$tarball"
	touch -r "$tarball" "$tree"
fi
exec 9>&-

# /home is on the disk itself, not on the overlay that the rest is.
mkdir "$dir/root" "$dir/upper" "$dir/work" "$dir/home"
mount -t overlay -o "lowerdir=$tree,upperdir=$dir/upper,workdir=$dir/work" overlay "$dir/root"
mkdir -p "$dir/root/dev"
cp -a "$dir/root/home/." "$dir/home/"
mount --bind "$dir/home" "$dir/root/home"
mount --rbind /dev "$dir/root/dev"
mount --rbind /sys "$dir/root/sys"
mount -t proc proc "$dir/root/proc"
mount -t tmpfs -o mode=0755 tmpfs "$dir/root/run"
cat /etc/resolv.conf >"$dir/root/etc/resolv.conf"
install -m 0755 "$builder" "$dir/root/usr/bin/builder"
for b in $binds; do
	install -D /dev/null "$dir/root${b#*:}"
	mount --bind "${b%%:*}" "$dir/root${b#*:}"
done
mkdir "$dir/root/run/old"
cd "$dir/root"
pivot_root . run/old
umount -l /run/old

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive
install -d -o ann -g ann -m 0700 /run/user/1000
cat >/usr/local/bin/ann <<'ANN'
#!/bin/sh
cd /home/ann
exec setpriv --reuid ann --regid ann --init-groups --reset-env env \
	XDG_RUNTIME_DIR=/run/user/1000 PATH=/usr/local/bin:/usr/bin:/bin "$@"
ANN
chmod 0755 /usr/local/bin/ann
for package in $without; do
	dpkg --force-depends --purge "$package" >/dev/null 2>&1
done
exec sh -c "$script"
