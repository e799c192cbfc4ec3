#!/bin/sh
# Before the files go: dpkg calls it with "remove", rpm with the number of builder's
# packages that stay. At an upgrade the profile stays loaded.
set -e
profile=/etc/apparmor.d/builder

case $1 in
remove | 0) ;;
*) exit 0 ;;
esac
if [ -f $profile ] && [ -d /sys/kernel/security/apparmor ] && command -v apparmor_parser >/dev/null; then
	apparmor_parser --remove $profile >/dev/null 2>&1 || true
fi
