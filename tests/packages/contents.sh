#!/bin/sh
# contents.sh RELEASE looks into a release: checksums, the bill of materials against
# what Go says is in the binary, and the packages by dpkg's, lintian's and rpm's eyes.
set -eu
cd "$(dirname "$0")/../.."
. tests/env/lib.sh
release=$1
dir=$(mktemp -d /var/tmp/builder-packages.XXXXXX)
trap 'as_root rm -rf "${dir:?}"' EXIT

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
# has FILE LINE... wants each line in the file.
has() {
	file=$1
	shift
	for line; do
		grep -qxF -- "$line" "$file" || { cat "$file" >&2; fail "${file##*/} hasn't the line: $line"; }
	done
}

cd "$release"
sha256sum --check --quiet SHA256SUMS || fail "checksums"
[ "$(wc -l <SHA256SUMS)" = "$(find . -type f ! -name SHA256SUMS | wc -l)" ] || fail "SHA256SUMS doesn't name all files"

mkdir "$dir/tar" "$dir/deb" "$dir/rpm"
tar -xzf builder-linux-*.tar.gz -C "$dir/tar" --strip-components=1
"$dir/tar/bin/builder" version >/dev/null || fail "the tarball's binary doesn't start"
file -b "$dir/tar/bin/builder" | grep -q 'statically linked' || fail "the binary isn't static"
(cd "$dir/tar" && find . -type f | LC_ALL=C sort) >"$dir/tar-files"
has "$dir/tar-files" ./bin/builder ./share/man/man1/builder.1 ./share/doc/builder/LICENSE \
	./share/doc/builder/third-party-licenses ./share/doc/builder/apparmor/builder \
	./share/bash-completion/completions/builder ./share/zsh/site-functions/_builder ./share/fish/vendor_completions.d/builder.fish

go version -m "$dir/tar/bin/builder" | awk '$1 == "dep" { print $2 "@" $3 }' | LC_ALL=C sort >"$dir/modules"
sed -n 's,.*"bom-ref": "pkg:golang/\([^?]*\)?type=module".*,\1,p' builder.cdx.json |
	grep -v '^std@' | LC_ALL=C sort -u >"$dir/components"
diff "$dir/modules" "$dir/components" || fail "the bill of materials doesn't name what is in the binary"

dpkg-deb -f ./*.deb Depends | sed 's/, /\n/g' >"$dir/depends"
has "$dir/depends" uidmap fuse-overlayfs 'crun | runc' 'passt | slirp4netns' ca-certificates
[ "$(dpkg-deb --ctrl-tarfile ./*.deb | tar -xO ./conffiles)" = /etc/apparmor.d/builder ] || fail "conffiles"
lintian -q --fail-on warning ./*.deb 2>"$dir/lintian" || { cat "$dir/lintian" >&2; fail "lintian"; }

rpm -qp --requires ./*.rpm >"$dir/requires"
has "$dir/requires" '(shadow-utils or shadow)' fuse-overlayfs '(crun or runc)' '(passt or slirp4netns)' ca-certificates
[ "$(rpm -qp --configfiles ./*.rpm)" = /etc/apparmor.d/builder ] || fail "the rpm's configuration files"
rpm -K --nosignature ./*.rpm >/dev/null || fail "the rpm's own checksums"
# Its names are absolute: they are not to be this machine's.
(cd "$dir/rpm" && rpm2cpio "$release"/*.rpm | cpio -id --quiet --no-absolute-filenames)
dpkg-deb -x ./*.deb "$dir/deb"
for unpacked in deb rpm; do
	cmp "$dir/tar/bin/builder" "$dir/$unpacked/usr/bin/builder" || fail "another binary in the $unpacked"
done

# Installed and removed in a root and a database of its own; the scripts are dpkg's too.
mkdir -p "$dir/root"
in_root() { as_root rpm --root "$dir/root" "$@"; }
in_root --nodeps --noscripts -i ./*.rpm || fail "rpm -i"
in_root -V --nodeps builder || fail "rpm -V"
in_root --noscripts -e builder || fail "rpm -e"
left=$(as_root find "$dir/root" -iname '*builder*')
[ -z "$left" ] || fail "rpm -e leaves $left"
echo "== contents: checksums, $(wc -l <"$dir/modules") modules, dependencies, lintian and rpm are as they should be"
