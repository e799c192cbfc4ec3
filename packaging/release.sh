#!/bin/sh
# release.sh ARCH... makes what a release consists of, in dist/release: for each
# architecture (in Go's words) a static binary with manual and completions as a
# tarball, a .deb and an .rpm; and for all of them a bill of materials and
# SHA256SUMS. `make release` calls it, with
#
#   VERSION            what `git describe` says
#   SOURCE_DATE_EPOCH  the time that all files bear
#   MAX_SIZE           the most bytes that a binary may have
#   NFPM, CYCLONEDX    the programs
#
# The same commit and compiler give the same bytes, wherever and whenever.
set -eu
cd "$(dirname "$0")/.."
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
umask 022

out=dist/release
work=dist/work

# package_version turns `git describe` into a version that dpkg and rpm order rightly:
# v1.2.0-rc.1 → 1.2.0~rc.1 (before 1.2.0), v1.2.0-4-gab12 → 1.2.0+4.gab12 (after it),
# and a commit without any tag below it → 0~20260131.ab12 (before all).
package_version() {
	case $1 in
	v[0-9]*) echo "$1" | sed 's/^v//; s/-dirty$/.dirty/; s/-\([0-9]*\)-g/+\1.g/; s/-/~/g' ;;
	*) echo "0~$(date -d "@$SOURCE_DATE_EPOCH" +%Y%m%d).$1" | sed 's/-/./g' ;;
	esac
}

# same_times gives all files below a directory the one time, which is what packing
# takes from them.
same_times() { find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +; }

# pack DIR NAME FILE makes a tarball of the directory NAME in DIR.
pack() {
	tar --create --directory="$1" --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" \
		--owner=0 --group=0 --numeric-owner "$2" | gzip -9n >"$3"
}

# debian_changelog is what Debian asks for: the release, in its own form.
debian_changelog() {
	cat <<-END
		builder ($PACKAGE_VERSION) stable; urgency=medium

		  * builder $VERSION. NEWS.gz, beside this file, has what is new in it.

		 -- The authors of builder <builder-oci@users.noreply.github.com>  $(date -R -d "@$SOURCE_DATE_EPOCH")
	END
}

# prefix DIR PREFIX installs program, manual, completions and texts.
prefix() {
	make --no-print-directory -s install DESTDIR="$1" PREFIX="$2" BINARY="$work/builder-$arch"
	doc=$1$2/share/doc/builder
	install -d "$doc"
	install -m 0644 README.md CHANGELOG.md LICENSE "$work/third-party-licenses" "$doc"
}

# debian turns an installation under DIR/usr into what Debian wants: manual and texts
# compressed, completions where its shells look.
debian() {
	doc=$1/usr/share/doc/builder
	rm "$doc/LICENSE" "$doc/README.md"
	mv "$doc/CHANGELOG.md" "$doc/NEWS"
	debian_changelog >"$doc/changelog"
	gzip -9n "$doc/NEWS" "$doc/changelog" "$doc/third-party-licenses"
	install -m 0644 packaging/copyright "$doc/copyright"
	install -D -m 0644 packaging/lintian-overrides "$1/usr/share/lintian/overrides/builder"
	mkdir "$1/usr/share/zsh/vendor-completions"
	mv "$1/usr/share/zsh/site-functions/_builder" "$1/usr/share/zsh/vendor-completions/"
	rmdir "$1/usr/share/zsh/site-functions"
	compressed_manual "$1/usr/share/man/man1"
}

compressed_manual() {
	for page in "$1"/*; do
		if [ -L "$page" ]; then
			ln -s "$(readlink "$page").gz" "$page.gz"
			rm "$page"
		else
			gzip -9n "$page"
		fi
	done
}

# packages makes the .deb and the .rpm of the architecture.
packages() {
	for format in deb rpm; do
		STAGE=$work/$format-$arch
		prefix "$STAGE" /usr
		install -D -m 0644 packaging/apparmor.d/builder "$STAGE/etc/apparmor.d/builder"
		[ $format = rpm ] || debian "$STAGE"
		same_times "$STAGE"
		case $arch in
		arm) ARCH=arm7 ;; # GOARM below; armhf of Debian
		*) ARCH=$arch ;;
		esac
		export STAGE ARCH PACKAGE_VERSION
		"$NFPM" package --config packaging/nfpm.yaml --packager $format --target "$out/" >/dev/null
	done
}

# tarball makes what is unpacked over /usr/local, or used in place.
tarball() {
	tree=$work/tar-$arch/builder-$VERSION
	prefix "$tree" ''
	install -D -m 0644 packaging/apparmor.d/builder "$tree/share/doc/builder/apparmor/builder"
	pack "${tree%/*}" "${tree##*/}" "$out/builder-linux-$arch.tar.gz"
}

PACKAGE_VERSION=$(package_version "$VERSION")
rm -rf $out $work
mkdir -p $out $work
for arch; do
	echo "builder $VERSION ($PACKAGE_VERSION) for $arch"
	make --no-print-directory -s compile GOOS=linux GOARCH="$arch" GOARM=7 BINARY="$work/builder-$arch"
	size=$(stat -c %s "$work/builder-$arch")
	[ "$size" -le "$MAX_SIZE" ] || { echo "$work/builder-$arch: $size bytes, more than $MAX_SIZE" >&2; exit 1; }
	GOOS=linux GOARCH=$arch packaging/licenses.sh >"$work/third-party-licenses"
	tarball
	packages
done
# All architectures have the same modules.
GOOS=linux GOARCH=$1 "$CYCLONEDX" app -json -std -licenses -noserial -notimestamp \
	-main cmd/builder -output "$out/builder.cdx.json" . 2>"$work/cyclonedx.log" || { cat "$work/cyclonedx.log" >&2; exit 1; }
(cd $out && sha256sum -- * >../SHA256SUMS && mv ../SHA256SUMS .)
rm -rf $work
ls -l $out
