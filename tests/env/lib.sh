# shellcheck shell=sh disable=SC2034 # the lists are for who sources this
# The ground that tests, benchmarks and the demo stand on: Debian packages and
# an unprivileged user. Sourced, with the repository's root as the current
# directory. Everything it changes on the machine, it says.

# What builder itself uses at run time.
RUNTIME_PACKAGES="uidmap fuse-overlayfs crun passt ca-certificates"
# What makes base images without asking a registry.
BASE_PACKAGES="mmdebstrap busybox-static"
# Witnesses, and alternatives that builder also supports.
TEST_PACKAGES="git openssh-client runc slirp4netns skopeo umoci podman docker-registry procps strace
	tar gzip bzip2 xz-utils zstd time curl attr libcap2-bin mandoc zsh fish"
# What the benchmarks compare with.
BENCH_PACKAGES="buildah runc slirp4netns pigz tar curl skopeo umoci podman docker-registry"

# The user who runs the product when the caller is root, and his home, which is
# on a real disk: a container image builder's files don't belong on a tmpfs. Runs
# side by side each need a user of their own, for tests look for what a user's
# processes have left.
TEST_USER=${BUILDER_TEST_USER:-builder-test}
TEST_HOME=/var/lib/$TEST_USER
TEST_RUNTIME_DIR=/run/$TEST_USER

say() { printf '==> %s\n' "$*"; }

am_root() { [ "$(id -u)" -eq 0 ]; }

as_root() {
	if am_root; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		say "this needs root, and there is no sudo: $*"
		return 1
	fi
}

# need_packages NAME... installs the Debian packages that are missing. An argument may be
# a list of names.
need_packages() {
	missing=
	# shellcheck disable=SC2048
	for package in $*; do
		case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
		*" installed") ;;
		*) missing="$missing $package" ;;
		esac
	done
	[ -n "$missing" ] || return 0
	say "installing Debian packages:$missing"
	as_root apt-get update -q
	# The list is meant to be split into words.
	# shellcheck disable=SC2086
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -q -y --no-install-recommends $missing
}

# need_user sees to an unprivileged user with subordinate ids, FUSE and
# network devices: the caller himself, or TEST_USER where the caller is root.
need_user() {
	if am_root; then
		user=$TEST_USER
		if ! id "$user" >/dev/null 2>&1; then
			say "creating the user $user with the home $TEST_HOME"
			useradd --create-home --home-dir "$TEST_HOME" --shell /bin/sh "$user"
		fi
		install -d -o "$user" -g "$user" -m 0700 "$TEST_RUNTIME_DIR"
	else
		user=$(id -un)
	fi
	need_subordinate_ids "$user"
	need_device /dev/fuse 10 229
	need_device /dev/net/tun 10 200
}

need_subordinate_ids() {
	for kind in uid gid; do
		grep -q "^$1:" "/etc/sub$kind" 2>/dev/null && continue
		first=$(awk -F: '$2 + $3 > n { n = $2 + $3 } END { print (n > 100000) ? n : 100000 }' \
			"/etc/sub$kind" 2>/dev/null || echo 100000)
		say "giving $1 65536 subordinate ${kind}s from $first"
		as_root usermod "--add-sub${kind}s" "$first-$((first + 65535))" "$1"
	done
}

# need_device PATH MAJOR MINOR makes a device that udev gives to everybody, and
# that containers and small virtual machines lack or keep to root.
need_device() {
	if [ ! -e "$1" ]; then
		say "making $1"
		as_root mkdir -p "${1%/*}"
		as_root mknod "$1" c "$2" "$3"
	fi
	case $(stat -c %a "$1") in
	*[67]) ;;
	*)
		say "opening $1 to everybody, as udev does"
		as_root chmod 0666 "$1"
		;;
	esac
}

# as_user COMMAND... runs it as the unprivileged user, replacing this process.
# Of the environment only what tests are told by, and proxies, is passed on.
as_user() {
	am_root || exec "$@"
	passed=$(env | sed -n 's/^\(BUILDER_TEST_[A-Z_]*\|BUILDER_ISOLATION\|[a-z]*_proxy\|[A-Z]*_PROXY\)=.*/\1/p')
	set -- PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		XDG_RUNTIME_DIR="$TEST_RUNTIME_DIR" "$@"
	for name in $passed; do
		set -- "$name=$(printenv "$name")" "$@"
	done
	exec setpriv --reuid "$TEST_USER" --regid "$TEST_USER" --init-groups --reset-env env "$@"
}

# open_dir makes a directory that the unprivileged user can read, prints its
# name, and leaves removing it to the caller.
open_dir() {
	dir=$(mktemp -d "${TMPDIR:-/tmp}/builder-test.XXXXXX")
	chmod 0755 "$dir"
	printf '%s\n' "$dir"
}
