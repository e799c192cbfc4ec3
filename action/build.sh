#!/bin/sh
# build.sh BUILDER builds an image as the inputs say, which are those of
# docker/build-push-action, and gives id, digest and metadata to the steps that follow.
# Errors and warnings stand beside the Dockerfile's lines, since builder writes the
# runner's annotations; the steps stand in the job's summary.
set -eu
. "${0%/*}/lib.sh"
builder=$1

work=$(mktemp -d "${RUNNER_TEMP:-/tmp}/builder-action.XXXXXX")
trap 'rm -rf "$work"' EXIT

# entries prints the entries of a list, one a line, without blanks around them. With a
# second argument commas part them, too.
entries() {
	if [ $# -gt 1 ]; then printf '%s\n' "$1" | tr , '\n'; else printf '%s\n' "$1"; fi |
		sed 's/^[[:space:]]*//; s/[[:space:]]*$//; /^$/d'
}

# without INPUT VALUE REASON tells of an input that means nothing here.
without() { [ -z "$2" ] || warn "$1 is ignored: $3"; }

without cache-from "$INPUT_CACHE_FROM" "builder keeps its cache in its store, which docs/ci.md tells how to keep between jobs"
without cache-to "$INPUT_CACHE_TO" "builder keeps its cache in its store, which docs/ci.md tells how to keep between jobs"
without builder "$INPUT_BUILDER" "there is no daemon to choose; path names the program"

set -- bud --progress plain --iidfile "$work/imageid" --metadata-file "$work/metadata"
[ -z "${GITHUB_STEP_SUMMARY:-}" ] || set -- "$@" --summary "$GITHUB_STEP_SUMMARY"

# Each entry of a list becomes an option. The lists are read from files, since what
# follows a pipe can't change the arguments.
list() { # NAME INPUT [comma]
	entries "$2" ${3:+comma} >"$work/list"
}
for option in tag:comma build-arg build-context label annotation secret-env secret-file ssh \
	add-host allow:comma no-cache-filter:comma ulimit output ca; do
	name=${option%:comma}
	case $name in
	tag) value=$INPUT_TAGS ;;
	build-arg) value=$INPUT_BUILD_ARGS ;;
	build-context) value=$INPUT_BUILD_CONTEXTS ;;
	label) value=$INPUT_LABELS ;;
	annotation) value=$INPUT_ANNOTATIONS ;;
	secret-env) value=$INPUT_SECRET_ENVS ;;
	secret-file) value=$INPUT_SECRET_FILES ;;
	ssh) value=$INPUT_SSH ;;
	add-host) value=$INPUT_ADD_HOSTS ;;
	allow) value=$INPUT_ALLOW ;;
	no-cache-filter) value=$INPUT_NO_CACHE_FILTERS ;;
	ulimit) value=$INPUT_ULIMIT ;;
	output) value=$INPUT_OUTPUTS ;;
	ca) value=$INPUT_CA ;;
	esac
	if [ "$name" = "$option" ]; then list "$name" "$value"; else list "$name" "$value" comma; fi
	while IFS= read -r entry; do
		case $name in
		secret-env) set -- "$@" --secret "id=${entry%%=*},env=${entry#*=}" ;;
		secret-file) set -- "$@" --secret "id=${entry%%=*},src=${entry#*=}" ;;
		ca) set -- "--ca=$entry" "$@" ;;
		*) set -- "$@" "--$name=$entry" ;;
		esac
	done <"$work/list"
done

# Secrets' values go by files that nobody else can read, and that end with this script.
n=0
list secret "$INPUT_SECRETS"
while IFS= read -r entry; do
	case $entry in
	\"*) die "secrets: one of several lines is given by secret-files or secret-envs" ;;
	*=*) ;;
	*) die "secrets: write NAME=VALUE, one a line" ;;
	esac
	n=$((n + 1))
	(umask 077 && printf '%s' "${entry#*=}" >"$work/secret$n")
	set -- "$@" --secret "id=${entry%%=*},src=$work/secret$n"
done <"$work/list"

# With --platform for several, an image would be built of each.
entries "$INPUT_PLATFORMS" comma >"$work/list"
case $(wc -l <"$work/list") in
0) ;;
1) set -- "$@" "--platform=$(cat "$work/list")" ;;
*) die "platforms: builder builds for one at a time; use a matrix, and join the images by builder manifest (docs/ci.md)" ;;
esac

for option in file target network shm-size cgroup-parent provenance sbom; do
	case $option in
	file) value=$INPUT_FILE ;;
	target) value=$INPUT_TARGET ;;
	network) value=$INPUT_NETWORK ;;
	shm-size) value=$INPUT_SHM_SIZE ;;
	cgroup-parent) value=$INPUT_CGROUP_PARENT ;;
	provenance) value=$INPUT_PROVENANCE ;;
	sbom) value=$INPUT_SBOM ;;
	esac
	[ -z "$value" ] || set -- "$@" "--$option=$value"
done
entries "$INPUT_ATTESTS" >"$work/list"
while IFS= read -r entry; do set -- "$@" "--attest=$entry"; done <"$work/list"

if said_yes "$INPUT_NO_CACHE"; then set -- "$@" --no-cache; fi
if said_yes "$INPUT_PULL"; then set -- "$@" --pull; fi
if said_yes "$INPUT_LOAD"; then set -- "$@" --load; fi
if said_yes "$INPUT_PUSH"; then
	[ -n "$INPUT_TAGS" ] || die "push needs tags, which say where to"
	set -- "$@" --push
fi
case $INPUT_CALL in
'' | build) ;;
*) set -- "$@" "--call=$INPUT_CALL" ;;
esac

# To docker's action that is the repository's address; here it is the checkout.
case $INPUT_CONTEXT in
'{{defaultContext}}'*)
	below=${INPUT_CONTEXT#'{{defaultContext}}'}
	INPUT_CONTEXT=.${below:+/${below#:}}
	;;
*://* | git@*)
	if [ -n "$INPUT_GITHUB_TOKEN" ]; then
		set -- "$@" --secret "id=GIT_AUTH_TOKEN.github.com,env=INPUT_GITHUB_TOKEN"
	fi
	;;
esac

"$builder" "$@" -- "${INPUT_CONTEXT:-.}"

if [ -s "$work/imageid" ]; then output imageid "$(cat "$work/imageid")"; fi
if [ -s "$work/metadata" ]; then
	output metadata "$(cat "$work/metadata")"
	output digest "$(sed -n 's/.*"containerimage.digest": *"\([^"]*\)".*/\1/p' "$work/metadata" | head -n 1)"
fi
