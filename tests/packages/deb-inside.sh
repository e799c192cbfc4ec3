#!/bin/sh
# Runs in a clean Debian, as root: installs /mnt/builder.deb by apt, has an ordinary
# user build and run with it, removes it, and looks for what it left behind.
set -eu

say() { printf '== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
as() { setpriv --reuid user --regid user --init-groups --reset-env -- env PATH=/usr/bin:/bin sh -euc "$1"; }
apt() { apt-get -q -y -o Dpkg::Use-Pty=0 "$@" >>/tmp/apt.log 2>&1 || { tail -50 /tmp/apt.log; fail "apt-get $*"; }; }

# files lists what there is, but for what dpkg and apt note down and the user's own.
files() {
	find / -xdev \( -path /mnt -o -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /home/user \
		-o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache/apt -o -path /var/log \
		-o -path /var/cache/ldconfig -o -path /var/cache/debconf \) -prune -o -print | LC_ALL=C sort
}

# packages lists what is installed, and clean purges what wasn't at the beginning.
packages() { dpkg-query -W -f '${db:Status-Abbrev} ${binary:Package}\n' | LC_ALL=C sort; }
clean() {
	packages | LC_ALL=C comm -13 /tmp/packages - >/tmp/new
	# shellcheck disable=SC2046 # names, each an argument
	apt purge $(awk '{ print $2 }' /tmp/new)
}

profile_is() {
	if [ -L /etc/apparmor.d/disable/builder ]; then found=off; else found=on; fi
	[ $found = "$1" ] || fail "the AppArmor profile is $found, with $(apparmor_parser --version | head -1)"
}

. /etc/os-release
rm -f /etc/apt/apt.conf.d/docker-clean
apt update
useradd --create-home --shell /bin/sh user
packages >/tmp/packages

say "$PRETTY_NAME: installing, and at once removing"
apt install --no-install-recommends /mnt/builder.deb
apt install --no-install-recommends apparmor
apt purge builder
if files | grep -E '/_?builder([-./]|$)'; then fail "these are left behind"; fi
clean
# What the packages that builder depends on leave behind is their own affair.
files >/tmp/before

say "installing"
apt install --no-install-recommends /mnt/builder.deb
[ "$(dpkg-query -W -f '${Status}' builder)" = "install ok installed" ] || fail "builder isn't installed"
dpkg-query -W -f '${binary:Package} ${Version}\n' uidmap fuse-overlayfs crun passt ca-certificates
[ ! -e /etc/apparmor.d/disable ] || fail "without AppArmor its directories aren't touched"
dpkg --verify builder

say "an ordinary user builds"
as 'builder import /mnt/base.tar base'
as 'mkdir ~/app && cd ~/app && cat >Dockerfile && echo greeting >file && builder bud -t app .' <<'END'
FROM base
RUN groupadd --gid 4321 staff2 && useradd --uid 4321 --gid 4321 --create-home someone && id someone
COPY --chown=someone:staff2 file /srv/file
RUN stat -c %u:%g /srv/file && grep -q : /proc/net/dev
USER someone
CMD ["sh", "-c", "cat /srv/file; id -u"]
END
[ "$(as 'builder run --rm app' | tr '\n' ' ')" = "greeting 4321 " ] || fail "the container printed something else"
as 'cd ~/app && builder bud -t app .' | grep "3 of 3 steps cached" || fail "built again, not every step is cached"
as 'builder info' >/tmp/info
for line in 'Storage driver:  fuse-overlayfs' 'Isolation:       oci' 'Runtime:         crun' 'Network:         private, by pasta' 'Mapping:         range'; do
	grep -q "^$line" /tmp/info || { cat /tmp/info; fail "info hasn't the line: $line"; }
done

say "AppArmor comes later"
apt install --no-install-recommends apparmor
case $VERSION_ID in
12) profile_is off ;; # its parser knows no user namespaces
*) profile_is on && apparmor_parser --skip-kernel-load --skip-cache /etc/apparmor.d/builder ;;
esac

say "removing"
echo '# mine' >>/etc/apparmor.d/builder
apt remove builder
[ -e /etc/apparmor.d/builder ] || fail "an edited configuration is gone at remove"
[ ! -e /usr/bin/builder ] || fail "the binary is still there"
apt install --no-install-recommends /mnt/builder.deb
grep -q '^# mine' /etc/apparmor.d/builder || fail "an edited configuration is overwritten"
apt purge builder
[ ! -e /etc/apparmor.d/builder ] || fail "the configuration is still there after purge"
[ ! -L /etc/apparmor.d/disable/builder ] || fail "the link is still there after purge"
clean

say "left behind:"
files >/tmp/after
diff /tmp/before /tmp/after || fail "see the lines above"
say "nothing but the user's own: $(find /home/user /tmp -maxdepth 4 \( -path '*share/builder' -o -path '/tmp/builder-*' \) -prune -print | tr '\n' ' ')"
