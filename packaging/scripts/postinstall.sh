#!/bin/sh
# After unpacking: dpkg calls it with "configure" or, when AppArmor's rules have
# changed, "triggered"; rpm with the number of builder's packages there are now.
set -e
profile=/etc/apparmor.d/builder
disabled=/etc/apparmor.d/disable/builder

case $1 in
configure | triggered | [0-9]*) ;;
*) exit 0 ;;
esac
[ -f $profile ] && command -v apparmor_parser >/dev/null || exit 0

# A parser that doesn't know user namespaces belongs to an AppArmor that doesn't
# restrict them. It would stumble over the profile at each boot: there the profile
# is switched off, by a link that isn't written as an administrator's would be.
if apparmor_parser --skip-kernel-load --skip-cache $profile >/dev/null 2>&1; then
	if [ "$(readlink $disabled)" = ../builder ]; then
		rm -f $disabled
		rmdir --ignore-fail-on-non-empty ${disabled%/*}
	fi
	# An administrator's own link keeps it switched off.
	if [ ! -e $disabled ] && [ -d /sys/kernel/security/apparmor ]; then
		apparmor_parser --replace --write-cache $profile ||
			echo "builder: AppArmor's profile $profile could not be loaded" >&2
	fi
elif [ ! -e $disabled ] && [ ! -L $disabled ]; then
	mkdir -p ${disabled%/*}
	ln -s ../builder $disabled
fi
