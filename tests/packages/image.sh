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
inner() { container contained "$@"; }

say "builder builds its image"
builder import "$dir/base.tar" base
builder import "$dir/golang.tar" golang
cd "$dir/src"
first=$(build builder)
say "$first, $(builder images --format '{{.Size}}' builder)"

# Docker and podman make that link in a container, and have programs look at it.
mkdir -p "$work/mtab/etc"
ln -s /proc/mounts "$work/mtab/etc/mtab"
printf 'FROM builder\nCOPY etc /etc\n' >"$work/mtab/Dockerfile"
builder bud -q -t contained "$work/mtab"

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

say "it builds in a container"
builder save golang base | container -i contained load
mkdir "$work/app"
install -d -m 0777 "$work/out" # the image's user is another one here
echo greeting >"$work/app/file"
cat >"$work/app/app.Dockerfile" <<'END'
FROM base AS made
ARG WHO
RUN useradd --uid 4321 someone && echo "hello $WHO" >/srv/hello && readlink /proc/self/ns/pid >/dev/null
COPY --chown=someone file /srv/file
FROM made
CMD ["cat", "/srv/hello", "/srv/file"]
END
# By crun, or not at all.
container -v "$work/app:/app:ro" contained --isolation oci --runtime crun bud -q --build-arg WHO=crun -f /app/app.Dockerfile -t app /app ||
	fail "no RUN by crun in a container"

say "and in kaniko's place, as its own user and as root"
# executor NAME COMMAND... runs the image's executor with a command line of kaniko's.
executor() {
	name=$1
	shift
	"$@" -v "$work/app:/app:ro" -v "$work/out:/out" --entrypoint /kaniko/executor contained \
		--context dir:///app --dockerfile app.Dockerfile --destination "registry.invalid/$name:v1" \
		--build-arg "WHO=$name" --no-push --tar-path "/out/$name.tar" --digest-file "/out/$name.digest" \
		--snapshot-mode redo --verbosity warn --single-snapshot ||
		fail "executor fails: $name"
	builder load -q -i "$work/out/$name.tar"
	[ "$(builder run --rm "registry.invalid/$name:v1" | tr '\n' ' ')" = "hello $name greeting " ] || fail "executor made something else: $name"
	grep -qx 'sha256:[0-9a-f]*' "$work/out/$name.digest" || fail "executor told no digest: $name"
}
root_container() { container --user 0 -v root:/root/.local/share/builder "$@"; }
builder save base | root_container -i contained load
executor user container
executor root root_container

say "it builds itself again"
second=$(build inner)
[ "$first" = "$second" ] || fail "another image: $first, and in the container $second"
say "the same digest: $second"
