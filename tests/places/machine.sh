#!/bin/sh
# machine.sh DIR PORT boots a stock Debian 13 in qemu, in the foreground, from
# DIR/disk.img, which is made where it is missing; so killing this is a power cut,
# and calling it again the next boot. Root and every user come in by ssh with
# DIR/key at PORT of the loopback interface. As root.
#
# BUILDER_PLACES_CPUS: how many processors it gets (2).
# BUILDER_PLACES_ACCEL: qemu's accelerator. By default (tcg) it works everywhere and
# is about eight times slower than this machine; kvm needs one that is no guest.

# Hooks of tree.sh have a $1 of their own.
# shellcheck disable=SC2016
set -eu
dir=$1 port=$2
here=$(cd "$(dirname "$0")" && pwd)
cache=${BUILDER_PLACES_CACHE:-/var/cache/builder-places}
mkdir -p "$dir" "$cache"

# What the installer of Debian 13 puts onto a server, less what needs hardware:
# systemd, a login session by ssh, sudo, AppArmor. No uidmap, no runtime, no FUSE
# program. What would take minutes for nothing is off: a new initrd whenever a package
# touches it, a login on the serial line.
machine() {
	"$here/../env/tree.sh" trixie linux-image-cloud-amd64 systemd-sysv dbus-user-session libpam-systemd \
		openssh-server apparmor sudo iproute2 netbase ca-certificates procps adduser \
		'printf "[Match]\nName=e*\n[Network]\nDHCP=yes\n[DHCPv4]\nUseDNS=no\n" >"$1"/etc/systemd/network/ether.network' \
		'chroot "$1" systemctl enable systemd-networkd' \
		'echo update_initramfs=no >"$1"/etc/initramfs-tools/update-initramfs.conf' \
		'chroot "$1" systemctl mask serial-getty@ttyS0' \
		'echo "/dev/vda / ext4 errors=remount-ro 0 1" >"$1"/etc/fstab'
}

key=$cache/key
if [ ! -e "$key" ]; then
	ssh-keygen -q -t ed25519 -N '' -C places -f "$key"
fi
cp -f "$key" "$dir/key"

# The disk as it comes from the installer is kept, too.
tree=$(machine)
fresh=$cache/machine-$(basename "$tree" .tar)
if [ -z "$(find "$fresh" -maxdepth 1 -name disk.img -newer "$tree" 2>/dev/null)" ]; then
	work=$(mktemp -d "$cache/machine.XXXXXX")
	trap 'rm -rf "${work:?}"' EXIT
	mkdir -p "$work/root/dev"
	tar -x -p --numeric-owner --xattrs --xattrs-include='*' -C "$work/root" -f "$tree"
	echo debian >"$work/root/etc/hostname"
	echo 127.0.1.1 debian >>"$work/root/etc/hosts"
	echo nameserver 10.0.2.3 >"$work/root/etc/resolv.conf"
	install -d -m 0700 "$work/root/root/.ssh" "$work/root/etc/skel/.ssh"
	cp "$key.pub" "$work/root/root/.ssh/authorized_keys"
	cp "$key.pub" "$work/root/etc/skel/.ssh/authorized_keys"
	mkdir "$work/made"
	cp "$work"/root/boot/vmlinuz-* "$work/made/vmlinuz"
	cp "$work"/root/boot/initrd.img-* "$work/made/initrd"
	mke2fs -q -t ext4 -d "$work/root" "$work/made/disk.img" 5G
	rm -rf "${fresh:?}"
	mv "$work/made" "$fresh"
	rm -rf "${work:?}"
	trap - EXIT
fi
if [ ! -e "$dir/disk.img" ]; then
	cp --sparse=always "$fresh"/* "$dir/"
fi

exec qemu-system-x86_64 -M q35 -accel "${BUILDER_PLACES_ACCEL:-tcg,thread=multi}" -cpu max -m 3072 -smp "${BUILDER_PLACES_CPUS:-2}" \
	-display none -no-reboot -serial "file:$dir/console.log" \
	-kernel "$dir/vmlinuz" -initrd "$dir/initrd" -append 'root=/dev/vda rw console=ttyS0 quiet' \
	-drive "file=$dir/disk.img,format=raw,if=virtio,cache=unsafe" \
	-nic "user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:$port-:22" </dev/null
