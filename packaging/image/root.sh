#!/bin/sh
# root.sh DIR makes the root file system of builder's image, without builder: the
# programs that builder starts, taken from this machine, with the libraries they
# need; trusted certificates; users; and the places that builder writes to.
set -eu
root=$1

# A distribution's tree: /bin, /lib, … are in /usr.
mkdir -p "$root/usr/bin" "$root/usr/lib" "$root/etc"
ln -s usr/bin "$root/bin"
ln -s usr/bin "$root/sbin"
ln -s usr/lib "$root/lib"
[ ! -d /usr/lib64 ] || { mkdir "$root/usr/lib64" && ln -s usr/lib64 "$root/lib64"; }

# take FILE copies a file to the place where it really is here, /usr/lib/x for /lib/x.
take() {
	place=$root$(readlink -f "${1%/*}")/${1##*/}
	[ ! -e "$place" ] || return 0
	mkdir -p "${place%/*}"
	cp -L "$1" "$place"
}

# take_program FILE copies a program and the libraries that it is linked with.
take_program() {
	take "$1"
	for library in $(ldd "$1" | grep -o '/[^ ]*' | grep -v :); do
		take "$library"
	done
}

for name in newuidmap newgidmap fuse-overlayfs crun pasta nsenter git ssh; do
	take_program "$(command -v $name)"
done
# Docker and podman give a container /etc/mtab, into which libfuse has these write.
take_program /usr/bin/mount
take_program /usr/bin/umount
# git fetches by sh and its helpers.
take_program /usr/bin/dash
ln -s dash "$root/usr/bin/sh"
take_program /usr/lib/git-core/git-remote-http
ln -s git-remote-http "$root/usr/lib/git-core/git-remote-https"
ln -s ../../bin/git "$root/usr/lib/git-core/git"

# In place of being root's: the one capability that each needs.
chmod 0755 "$root/usr/bin/newuidmap" "$root/usr/bin/newgidmap"
setcap cap_setuid+ep "$root/usr/bin/newuidmap"
setcap cap_setgid+ep "$root/usr/bin/newgidmap"

mkdir -p "$root/etc/ssl/certs"
take /etc/ssl/certs/ca-certificates.crt

cat >"$root/etc/passwd" <<END
root:x:0:0:root:/root:/bin/sh
build:x:1000:1000:build:/home/build:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
END
cat >"$root/etc/group" <<END
root:x:0:
build:x:1000:
nogroup:x:65534:
END
# All ids up to 65536 but build's own, of which 65536 make images content. A pod with
# a user namespace has no others, nor that last one; what isn't there isn't mapped.
for file in subuid subgid; do
	printf 'build:1:999\nbuild:1001:64536\n' >"$root/etc/$file"
done

# The store is below /home/build; a volume that is made there takes its owner. In the
# places of kaniko are what kaniko's users mount and call.
install -d -m 0700 "$root/root"
install -d -m 1777 "$root/tmp" "$root/var/tmp"
install -d "$root/run"
ln -s builder "$root/usr/bin/executor"
install -d "$root/kaniko" "$root/etc/builder"
install -d -o 1000 -g 1000 "$root/kaniko/.docker" # CI jobs write config.json there
ln -s ../usr/bin/builder "$root/kaniko/executor"
install -d -o 1000 -g 1000 "$root/workspace" "$root/home/build"
for dir in .local .local/share .local/share/builder .config .config/builder; do
	install -d -m 0700 -o 1000 -g 1000 "$root/home/build/$dir"
done
