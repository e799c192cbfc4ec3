#!/bin/sh
# Makes a release for one architecture twice, in different places, and holds the two
# against each other; looks into the packages; has builders for other architectures
# build, emulated; and installs, uses and removes the .deb in a clean Debian 12 and 13.
# As root, or with sudo.
set -eu
cd "$(dirname "$0")/../.."
. tests/env/lib.sh

need_packages "$BASE_PACKAGES" make git file cpio lintian rpm
need_device /dev/fuse 10 229
need_device /dev/net/tun 10 200
arch=$(go env GOARCH)
release=$PWD/dist/release

make release RELEASE_ARCHES="$arch"
tests/packages/reproducible.sh "$release"
tests/packages/contents.sh "$release"
tests/packages/emulated.sh arm64 arm 386 s390x
case $arch in # the trees are this machine's
amd64 | arm64) as_root tests/packages/deb.sh "$(ls "$release"/*.deb)" bookworm trixie ;;
esac
