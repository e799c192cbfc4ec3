#!/bin/sh
# prepare.sh BUILDER gives the runner what builder needs and it lacks: programs, an
# AppArmor profile for this program alone, subordinate ids. What is there already is
# left as it is, and where nothing is missing nobody is root. PROC is where /proc is.
set -eu
. "${0%/*}/lib.sh"
builder=$1
proc=${PROC:-/proc}

# as_root runs a command as root, without asking anybody.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo -n "$@" || die "this needs root, and sudo without a password isn't to be had: $*"
	else
		die "this needs root, and there is no sudo: $*"
	fi
}

have() { command -v "$1" >/dev/null 2>&1; }

# lacking prints the packages that are missing, by Debian's names.
lacking() {
	# A user gets ids of others by newuidmap; root of a container has them.
	{ have newuidmap && have newgidmap; } || [ "$(id -u)" -eq 0 ] || echo uidmap
	have fuse-overlayfs || echo fuse-overlayfs
	have crun || have runc || echo crun
	have pasta || have slirp4netns || echo slirp4netns # passt isn't everywhere yet
}

install_packages() {
	# The list is meant to be split into words.
	# shellcheck disable=SC2046
	set -- $(lacking)
	[ $# -gt 0 ] || return 0
	have apt-get || die "install these, or what they are called here, before this step: $*"
	echo "Installing $*"
	as_root apt-get update -qq
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

works() { "$builder" unshare true; }

# allow_namespaces lets this program, and no other, make user namespaces where AppArmor
# forbids them (Ubuntu 23.10 and newer).
allow_namespaces() {
	restricted=$(cat "$proc/sys/kernel/apparmor_restrict_unprivileged_userns" 2>/dev/null || echo 0)
	[ "$restricted" = 1 ] || return 0
	case $builder in *[\"\\*?\[\]{}^,@]*) die "builder has to lie where AppArmor can name it: $builder" ;; esac
	echo "Allowing user namespaces to $builder by an AppArmor profile"
	profile=${RUNNER_TEMP:-/tmp}/builder-action.apparmor
	cat >"$profile" <<-END
		abi <abi/4.0>,
		include <tunables/global>
		profile builder-action "$builder" flags=(unconfined) {
		  userns,
		}
	END
	as_root install -m 0644 "$profile" /etc/apparmor.d/builder-action
	as_root apparmor_parser -r /etc/apparmor.d/builder-action
	rm "$profile"
}

# give_ids gives the user subordinate ids where he has none.
give_ids() {
	[ "$(id -u)" -ne 0 ] || return 0
	user=$(id -un)
	for kind in uid gid; do
		grep -q -e "^$user:" -e "^$(id -u):" "/etc/sub$kind" 2>/dev/null && continue
		first=$(awk -F: 'BEGIN { n = 100000 } $2 + $3 > n { n = $2 + $3 } END { print n }' "/etc/sub$kind" 2>/dev/null || echo 100000)
		echo "Giving $user subordinate ${kind}s from $first"
		as_root usermod "--add-sub${kind}s" "$first-$((first + 65535))" "$user"
	done
}

install_packages
give_ids
works >/dev/null 2>&1 || allow_namespaces
works || die "builder can't work on this runner; what it says above tells why"
