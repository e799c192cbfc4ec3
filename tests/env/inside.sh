#!/bin/sh
# inside.sh TREE [DIR] -- COMMAND... runs a command as root in the root file system
# TREE as if that were a machine: with /proc, /sys, and the devices that udev opens to
# everybody; DIR is at /mnt. The root is pivoted to, for in a chroot the kernel permits
# no user namespaces. Processes and mounts are gone when it ends. It is run by root.
set -eu

if [ "$1" != --entered ]; then
	exec unshare --mount --propagation private --pid --fork --kill-child --uts -- "$0" --entered "$@"
fi
shift
tree=$1
mount --bind "$tree" "$tree"
mkdir -p "$tree/proc" "$tree/sys" "$tree/dev" "$tree/mnt"
if [ "$2" != -- ]; then
	mount --bind "$2" "$tree/mnt"
	shift
fi
shift 2
cd "$tree"

mount -t proc proc proc
mount --rbind /sys sys
mount -t tmpfs -o mode=0755 tmpfs dev
mkdir dev/pts dev/shm dev/net
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
while read -r name major minor; do
	mknod -m 0666 "dev/$name" c "$major" "$minor"
done <<-END
	null 1 3
	zero 1 5
	full 1 7
	random 1 8
	urandom 1 9
	tty 5 0
	fuse 10 229
	net/tun 10 200
END
[ -e etc/resolv.conf ] || : >etc/resolv.conf
mount --bind /etc/resolv.conf etc/resolv.conf
# shellcheck disable=SC1091 # it is the tree's
hostname "tree-$(. ./etc/os-release && echo "${VERSION_CODENAME:-x}")"

pivot_root . .
umount -l .
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	HOME=/root LANG=C.UTF-8 TERM=dumb DEBIAN_FRONTEND=noninteractive chroot . "$@"
