#!/bin/sh
# image.sh builds builder's own image (the Dockerfile at the root) as an unprivileged
# user, on a base made by mmdebstrap and this machine's Go; then has the builder in it,
# as the image's user in a container, build the same sources again, and compares the
# digests. `make test-image` calls it; it takes minutes and 4 GB below the user's home.

# The hook has a $1 of its own.
# shellcheck disable=SC2016
set -eu
cd "$(dirname "$0")/../.."
. tests/env/lib.sh

if [ "${1-}" != --as-user ]; then
	need_packages "$RUNTIME_PACKAGES" make git
	need_user
	tree=$(as_root tests/env/tree.sh trixie 'rm -rf "${1:?}"/var/lib/apt/lists/*')
	golang=${XDG_CACHE_HOME:-$HOME/.cache}/builder-tests/golang-trixie.tar
	mkdir -p "${golang%/*}"
	[ -n "$(find "$golang" -mtime -30 2>/dev/null)" ] || as_root tests/packages/gobase.sh "$tree" "$golang"

	dir=$(open_dir)
	trap 'rm -rf "${dir:?}"' EXIT
	install -D -m 0755 bin/builder "$dir/bin/builder"
	git archive --prefix=src/ HEAD | tar -xC "$dir"
	cp "$tree" "$dir/base.tar"
	cp "$golang" "$dir/golang.tar"
	chmod 0644 "$dir"/*.tar
	(as_user BUILDER_TEST_VERSION="$(git describe --tags --always)" BUILDER_TEST_COMMIT="$(git rev-parse HEAD)" \
		BUILDER_TEST_EPOCH="$(git log -1 --format=%ct)" "$dir/src/tests/packages/image.sh" --as-user)
	exit
fi

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
dir=$(cd .. && pwd)
PATH=$dir/bin:$PATH
work=$(mktemp -d "$HOME/image-test.XXXXXX")
export BUILDER_ROOT="$work/store"
finish() {
	builder system reset -f >/dev/null
	rm -rf "${work:?}"
}
trap finish EXIT

# The one command line that both builders are given.
build() {
	"$@" bud --pull=missing -q -t builder --source-date-epoch "$BUILDER_TEST_EPOCH" \
		--build-arg GO_IMAGE=golang --build-arg BASE=base \
		--build-arg GOCACHE=/seed/build --build-arg GOMODCACHE=/seed/modules \
		--build-arg VERSION="$BUILDER_TEST_VERSION" --build-arg COMMIT="$BUILDER_TEST_COMMIT" .
}

# container [OPTION]... runs builder's image as a container that may make namespaces, as
# docs/install.md says.
container() {
	builder run --rm --security-opt seccomp=unconfined --security-opt unmask=ALL \
		--device /dev/fuse --device /dev/net/tun \
		-v inner:/home/build/.local/share/builder -v "$dir/src:/workspace:ro" "$@"
}
inner() { container builder "$@"; }

say "builder builds its image"
builder import "$dir/base.tar" base
builder import "$dir/golang.tar" golang
cd "$dir/src"
first=$(build builder)
say "$first, $(builder images --format '{{.Size}}' builder)"

say "what is in it"
[ "$(builder run --rm builder version | sed -n 's/^Version: *//p')" = "$BUILDER_TEST_VERSION" ] ||
	fail "another version"
[ "$(builder inspect -f '{{.Config.User}}' builder)" = 1000:1000 ] || fail "the user isn't a number other than 0"
container --entrypoint /kaniko/executor builder --help >/dev/null || fail "executor doesn't start"
inner info >"$work/info"
for line in 'Storage driver:  fuse-overlayfs' 'Isolation:       oci' 'Runtime:         crun' 'Network:         private, by pasta' 'Mapping:         range'; do
	grep -q "^$line" "$work/info" || { cat "$work/info"; fail "in the container, info hasn't the line: $line"; }
done
builder run --rm --user 0 builder info | grep '^Isolation:       chroot' || fail "as root without namespaces it isn't chroot"
builder run --rm --entrypoint git builder ls-remote --heads https://127.0.0.1:1/x 2>&1 | grep -q 'unable to access' ||
	fail "git can't start its helper for https"

say "it builds itself again"
builder save golang base | container -i builder load
second=$(build inner)
[ "$first" = "$second" ] || fail "another image: $first, and in the container $second"
say "the same digest: $second"
