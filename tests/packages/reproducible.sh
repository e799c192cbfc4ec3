#!/bin/sh
# reproducible.sh RELEASE makes the release once more, from a clone elsewhere, under
# another umask and in another time zone, and compares the checksums.
set -eu
cd "$(dirname "$0")/../.."
release=$1
[ -z "$(git status --porcelain)" ] || { echo "== uncommitted changes: the release isn't made a second time"; exit 0; }

dir=$(mktemp -d /var/tmp/builder-packages.XXXXXX)
trap 'rm -rf "${dir:?}"' EXIT
git clone -q . "$dir/elsewhere"
cd "$dir/elsewhere"
umask 077
TZ=Asia/Tokyo make release RELEASE_ARCHES="$(go env GOARCH)" >"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
diff "$release/SHA256SUMS" dist/release/SHA256SUMS || { echo "FAILED: the same commit gave other bytes" >&2; exit 1; }
echo "== reproducible: the same bytes from two places"
