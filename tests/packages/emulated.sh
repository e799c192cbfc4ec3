#!/bin/sh
# emulated.sh ARCH... compiles builder for other architectures (Go's words) and has
# qemu run it: it makes an image without RUN, which must be, byte for byte, the one
# that this machine's builder makes. Namespaces, mounts and seccomp can't be had under
# qemu's emulation of single programs, and so aren't tried.
set -eu
cd "$(dirname "$0")/../.."
. tests/env/lib.sh
native=$PWD/dist/emulated/builder

# The kernel knows programs for an architecture by these bytes.
magic() { head -c 20 "$1" | od -An -v -tx1 | tr -d '\n' | sed 's/ /\\x/g'; }
mask='\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\xfe\xff\xff\xff'

# image BUILDER NAME [STAGE] builds, and prints what came out: the id, and the sum of
# the image as an archive.
image() {
	work=$dir/$2
	export BUILDER_ROOT="$work/store" XDG_RUNTIME_DIR="$work/run"
	mkdir -p "$work"
	install -d -m 0700 "$XDG_RUNTIME_DIR"
	"$1" load -q -i "$dir/tree.oci" >/dev/null 2>"$work/log"
	set -- "$1" bud --platform linux/amd64 --target "${3-whole}" --source-date-epoch 1 -t image "$dir/context"
	if ! "$@" --iidfile "$work/id" >"$work/log" 2>&1 || ! "$@" >"$work/again" 2>&1; then
		cat "$work/log" >&2
		return 1
	fi
	cat "$work/id"
	grep -o '[0-9]* of [0-9]* steps cached' "$work/again"
	"$1" save --format oci-archive image | sha256sum
}

case ${1-} in
--inside) # a user namespace, whose binfmt_misc is its own
	dir=$2
	shift 2
	mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc 2>/dev/null ||
		{ say "this kernel has no binfmt_misc for user namespaces (Linux 6.7 has): nothing is emulated"; exit 0; }
	for arch; do
		[ -e "$dir/emulator-$arch" ] || continue
		printf ':%s:M::%s:%s:%s:F' "$arch" "$(magic "$native-$arch")" "$mask" "$(cat "$dir/emulator-$arch")" \
			>/proc/sys/fs/binfmt_misc/register
	done
	exec unshare --user --map-user 1000 --map-group 1000 "$0" --as-user "$dir" "$@"
	;;
--as-user)
	dir=$2
	shift 2
	export BUILDER_ROOT="$dir/first" XDG_RUNTIME_DIR="$dir"
	"$native" import --platform linux/amd64 "$dir/tree.tar" tree >/dev/null
	"$native" save -o "$dir/tree.oci" tree
	for arch; do
		# qemu forgets parts of seconds in one of s390x's calls: to builder, files of
		# the context would change while it reads them.
		case $arch in s390x) stage=imported ;; *) stage=whole ;; esac
		image "$native" native $stage >"$dir/want"
		"$native-$arch" version | grep -qx "OS/Arch: *linux/$arch" || { say "FAILED: builder for $arch doesn't start"; exit 1; }
		image "$native-$arch" "$arch" $stage >"$dir/got"
		diff "$dir/want" "$dir/got" || { say "FAILED: builder for $arch makes another image"; exit 1; }
		say "builder for $arch makes the image that this machine's makes"
	done
	exit
	;;
esac

dir=$(mktemp -d /var/tmp/builder-packages.XXXXXX)
trap 'rm -rf "${dir:?}"' EXIT

# find_emulator ARCH prints where qemu for it is, installed or fetched.
fetched=${XDG_CACHE_HOME:-$HOME/.cache}/builder-tests/qemu
find_emulator() {
	case $1 in
	arm64) name=aarch64 ;;
	loong64) name=loongarch64 ;;
	*) name=$1 ;;
	esac
	# Debian 13 has dropped the suffix.
	for file in "/usr/bin/qemu-$name-static" "$fetched/usr/bin/qemu-$name-static" "$fetched/usr/bin/qemu-$name"; do
		[ ! -x "$file" ] || { echo "$file"; return; }
	done
	return 1
}
# fetch_emulators unpacks Debian's package, and leaves the machine without it: an
# installed one would run foreign programs in all other tests.
fetch_emulators() {
	say "fetching qemu for programs of other architectures"
	as_root apt-get update -q
	mkdir -p "$fetched" "$dir/deb"
	for package in qemu-user-static qemu-user; do
		(cd "$dir/deb" && apt-get download -q "$package") || continue
		dpkg-deb -x "$dir/deb/$package"_*.deb "$fetched"
	done
}

make -s compile BINARY="$native"
for arch; do
	make -s compile GOOS=linux GOARCH="$arch" GOARM=7 BINARY="$native-$arch"
	! "$native-$arch" version >/dev/null 2>&1 || continue # this machine runs it, as amd64 does 386
	find_emulator "$arch" >/dev/null || fetch_emulators
	find_emulator "$arch" >"$dir/emulator-$arch" || { say "FAILED: there is no qemu for $arch"; exit 1; }
done

# A bit of everything that needs no RUN.
mkdir -p "$dir/context/tree/deep"
echo one >"$dir/context/tree/one"
echo two >"$dir/context/tree/deep/two"
head -c 3000000 /dev/zero >"$dir/context/tree/zeros"
ln -s deep/two "$dir/context/tree/link"
ln "$dir/context/tree/one" "$dir/context/tree/deep/same"
chmod 2750 "$dir/context/tree/deep"
tar -C "$dir/context" --owner=33 --group=3000000000 --numeric-owner -cf "$dir/tree.tar" tree
gzip -c "$dir/tree.tar" >"$dir/context/tree.tar.gz"
cat >"$dir/context/Dockerfile" <<'END'
FROM tree AS imported
ARG WHO=you
COPY <<EOF /etc/greeting
hello ${WHO}
EOF
COPY --from=tree --chown=1:2 --chmod=0640 /tree/deep /srv/deep
ENV A=b
LABEL of=$WHO
USER 33:50
WORKDIR /srv/new
CMD ["none"]

FROM imported AS whole
COPY --chown=33:50 tree /srv
ADD tree.tar.gz /opt
END
say "compiled; building by emulated builders"
as_root unshare --user --map-root-user --mount "$0" --inside "$dir" "$@"
