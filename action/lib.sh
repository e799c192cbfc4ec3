# shellcheck shell=sh
# What the scripts of the action share. They are POSIX shell, read their inputs from
# INPUT_* and speak to the runner by its files and commands:
# https://docs.github.com/actions/reference/workflow-commands-for-github-actions

# message writes a text as the runner's commands take it, for which a line may end by a
# carriage return.
message() { printf '%s' "$*" | sed "s/%/%25/g; s/$(printf '\r')/%0D/g" | awk 'NR > 1 { printf "%%0A" } { printf "%s", $0 }'; }

warn() { printf '::warning title=builder::%s\n' "$(message "$@")"; }

die() {
	printf '::error title=builder::%s\n' "$(message "$@")"
	exit 1
}

# output NAME VALUE gives a value to the steps that follow; it may have several lines.
output() {
	mark=end_$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
	printf '%s<<%s\n%s\n%s\n' "$1" "$mark" "$2" "$mark" >>"$GITHUB_OUTPUT"
}

# said_yes VALUE tells whether an input asks for something.
said_yes() {
	case $1 in
	true | True | TRUE) return 0 ;;
	'' | false | False | FALSE) return 1 ;;
	*) die "\"$1\" is neither true nor false" ;;
	esac
}
