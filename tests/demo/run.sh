#!/bin/sh
# The tutorial's image, as an unprivileged user, from nothing: builds it on
# nginx, runs it, fetches its page over a published port, and builds it again.
#
# nginx comes from Docker Hub where that answers; else its image is made from
# the distribution's own package.
set -eu
cd "$(dirname "$0")/../.."
. tests/env/lib.sh

if [ "${1-}" != --as-user ]; then
	need_packages "$RUNTIME_PACKAGES" "$BASE_PACKAGES" curl
	need_user
	dir=$(open_dir)
	trap 'rm -rf "${dir:?}"' EXIT
	install -D -m 0755 bin/builder "$dir/bin/builder"
	cp -r tests "$dir/tests"
	(as_user "$dir/tests/demo/run.sh" --as-user)
	exit
fi

builder=$PWD/bin/builder
cache=${XDG_CACHE_HOME:-$HOME/.cache}/builder-tests
work=$(mktemp -d)
server=
finish() {
	[ -z "$server" ] || kill "$server" 2>/dev/null || true
	rm -rf "${work:?}"
}
trap finish EXIT
mkdir -p "$cache"

# show COMMAND... prints a command as one would type it, and runs it.
show() {
	printf '\n$ %s\n' "$*"
	"$@"
}
builder() { "$builder" "$@"; }

say "I am $(id -un), uid $(id -u), on $(uname -sr)"

if builder images -q nginx | grep -q .; then
	say "nginx is in the store already"
elif timeout 5 curl -sSo /dev/null https://registry-1.docker.io/v2/ 2>/dev/null && show builder pull nginx; then
	:
else
	say "Docker Hub doesn't answer: making nginx from this distribution's package"
	[ -e "$cache/nginx.tar" ] || sh tests/rootfs/distribution.sh "$cache/nginx.tar" nginx-light \
		'sed -i "s,root /var/www/html;,root /usr/share/nginx/html;," "$1"/etc/nginx/sites-available/default'
	show builder import "$cache/nginx.tar" nginx-files
	mkdir "$work/base"
	printf '%s\n' 'FROM nginx-files' 'EXPOSE 80' 'CMD ["nginx", "-g", "daemon off;"]' >"$work/base/Dockerfile"
	show builder bud -q -t nginx "$work/base"
fi

cat >"$work/Dockerfile" <<'DOCKERFILE'
FROM nginx
RUN echo "<h1>hello world!</h1>" > /usr/share/nginx/html/index.html
DOCKERFILE
cd "$work"
show cat Dockerfile
show builder bud -t nginx:v2 .

port=8080
while curl -s -o /dev/null "http://127.0.0.1:$port/"; do
	port=$((port + 1))
done
printf '\n$ builder run --rm -p %s:80 nginx:v2 &\n' "$port"
"$builder" run --rm -p "$port:80" nginx:v2 &
server=$!
tries=100
until curl -s -o /dev/null "http://127.0.0.1:$port/"; do
	tries=$((tries - 1))
	[ $tries -gt 0 ] || { say "nginx doesn't answer"; exit 1; }
	sleep 0.1
done
show curl -sS "http://127.0.0.1:$port/"
kill "$server"
wait "$server" || true
server=

say "and again, when every step is known:"
started=$(date +%s%N)
show builder bud -t nginx:v2 .
ended=$(date +%s%N)
say "that took $(((ended - started) / 1000000)) ms"
