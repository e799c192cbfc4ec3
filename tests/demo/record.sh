#!/bin/sh
# Records a terminal picture of README.md, of the image that the demo has left in
# the unprivileged user's store: `record.sh demo` a build, docs/images/demo.svg, and
# `record.sh story` the tutorial's containers, docs/images/story.svg.
set -eu
cd "$(dirname "$0")/../.."
. tests/env/lib.sh

# type_line COMMAND shows a command as somebody would type it, each piece being
# what the expression PIECE matches.
type_line() {
	printf '\033[32m$\033[0m '
	sleep 0.6
	printf '%s' "$1" | sed "s/${PIECE:-.}/&\n/g" | while IFS= read -r piece; do
		printf '%s' "$piece"
		sleep 0.02
	done
	sleep 0.3
	printf '\n'
}

# new_store has builder use a store that has seen nothing but nginx.
new_store() {
	builder save -o nginx.tar nginx 2>/dev/null
	export BUILDER_ROOT="$PWD/store"
	builder load -i nginx.tar >/dev/null 2>&1
}

demo() {
	cat >Dockerfile <<-'DOCKERFILE'
		FROM nginx
		RUN echo "<h1>hello world!</h1>" > /usr/share/nginx/html/index.html
	DOCKERFILE
	new_store
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
}

# story's commands appear whole, so that the picture stays small.
story() {
	new_store
	builder run --rm nginx true # unpacked once
	PIECE='.*'
	while IFS= read -r command; do
		type_line "$command"
		case $command in
		*' exec -it '*) typing | script -q -e -c "stty cols 100 rows 30; $command" /dev/null ;;
		*' run '*)
			eval "$command"
			sleep 1 # nginx says nowhere that it listens
			;;
		*) eval "$command" ;;
		esac </dev/null
		sleep 1
	done <<-'COMMANDS'
		id -u
		builder run --name webserver -d -p 8080:80 nginx
		curl -s http://localhost:8080/ | grep h1
		builder exec -it webserver bash
		curl -s http://localhost:8080/
		builder diff webserver | grep nginx/html
		builder commit --author 'Ann' --message 'a page of our own' webserver nginx:v2
		builder history nginx:v2
		builder run --name web2 -d -p 8181:80 nginx:v2
		curl -s http://localhost:8181/
		builder ps --format 'table {{.Names}}\t{{.Image}}\t{{.Status}}\t{{.Ports}}'
	COMMANDS
	sleep 3
	builder rm -f webserver web2 >/dev/null
}

# typing is what somebody types in the shell of the container.
typing() {
	sleep 1.5
	printf "echo '<h1>Hello, Docker!</h1>' > /usr/share/nginx/html/index.html\r"
	sleep 1.5
	printf 'exit\r'
	sleep 0.5
}

if [ "${1-}" = --session ]; then
	PATH=$PWD/bin:$PATH
	export LC_ALL=C.UTF-8
	cd "$(mktemp -d)"
	"$2"
	builder system reset --force >/dev/null
	exit
fi

what=${1:-demo}
case $what in
demo) options='-g 84x27 -M 1500' ;;
story) options='-g 100x30 -m 250 -M 2000' ;;
*) say "there is no picture $what" && exit 1 ;;
esac
need_packages "$RUNTIME_PACKAGES" curl termtosvg
need_user
dir=$(open_dir)
trap 'rm -rf "${dir:?}"' EXIT
install -D -m 0755 bin/builder "$dir/bin/builder"
cp -r tests "$dir/tests"
install -d -m 0777 "$dir/out"
# termtosvg wants to be on a terminal itself.
(as_user script -q -e -c "TERM=xterm-256color termtosvg $dir/out/$what.svg $options -D 4000 -t gjm8 \
	-c 'sh $dir/tests/demo/record.sh --session $what'" /dev/null)
install -m 0644 "$dir/out/$what.svg" "docs/images/$what.svg"
