#!/bin/sh
# Records the terminal picture of README.md, docs/images/demo.svg, of the image
# that the demo has left in the unprivileged user's store.
set -eu
cd "$(dirname "$0")/../.."
. tests/env/lib.sh

# type_line COMMAND shows a command as somebody would type it.
type_line() {
	printf '\033[32m$\033[0m '
	sleep 0.6
	printf '%s' "$1" | sed 's/./&\n/g' | while IFS= read -r letter; do
		printf '%s' "$letter"
		sleep 0.02
	done
	sleep 0.3
	printf '\n'
}

if [ "${1-}" = --session ]; then
	PATH=$PWD/bin:$PATH
	export LC_ALL=C.UTF-8
	cd "$(mktemp -d)"
	cat >Dockerfile <<-'DOCKERFILE'
		FROM nginx
		RUN echo "<h1>hello world!</h1>" > /usr/share/nginx/html/index.html
	DOCKERFILE
	# A store that has seen no such build.
	builder save -o nginx.tar nginx
	export BUILDER_ROOT="$PWD/store"
	builder load -i nginx.tar >/dev/null
	for command in 'id -un' 'cat Dockerfile' 'builder bud -t nginx:v2 .' \
		'builder run --rm -p 8080:80 nginx:v2 &' 'curl -s http://localhost:8080/' \
		'time builder bud -t nginx:v2 .'; do
		type_line "$command"
		case $command in
		*'&')
			builder run --rm -p 8080:80 nginx:v2 &
			server=$!
			sleep 1
			;;
		time*) bash -c "TIMEFORMAT='%3R s'; $command" ;;
		*) eval "$command" ;;
		esac
	done
	sleep 3
	kill "$server"
	wait "$server" || true
	builder system reset --force >/dev/null
	exit
fi

need_packages $RUNTIME_PACKAGES curl termtosvg
need_user
dir=$(open_dir)
trap 'rm -rf "${dir:?}"' EXIT
install -D -m 0755 bin/builder "$dir/bin/builder"
cp -r tests "$dir/tests"
install -d -m 0777 "$dir/out"
# termtosvg wants to be on a terminal itself.
(as_user script -q -e -c "TERM=xterm-256color termtosvg $dir/out/demo.svg -g 84x27 -M 1500 -D 4000 -t gjm8 \
	-c 'sh $dir/tests/demo/record.sh --session'" /dev/null)
install -m 0644 "$dir/out/demo.svg" docs/images/demo.svg
