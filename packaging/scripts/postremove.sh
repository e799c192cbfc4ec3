#!/bin/sh
# After the files are gone. What dpkg keeps at "remove" is the administrator's own
# configuration; "purge" takes it, and so does rpm's removal (0 packages stay).
set -e
disabled=/etc/apparmor.d/disable/builder

case $1 in
purge | 0) ;;
*) exit 0 ;;
esac
[ ! -L $disabled ] || rm -f $disabled
rm -f /etc/apparmor.d/local/builder
for dir in disable local .; do
	[ ! -d /etc/apparmor.d/$dir ] || rmdir --ignore-fail-on-non-empty /etc/apparmor.d/$dir 2>/dev/null || true
done
