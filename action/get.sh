#!/bin/sh
# get.sh puts builder into PATH: the program that the input path names, or that of a
# release, whose checksum is verified before anything of it is used.
set -eu
. "${0%/*}/lib.sh"

# architecture is the machine's, in the words of releases.
architecture() {
	case $(uname -m) in
	x86_64) echo amd64 ;;
	aarch64) echo arm64 ;;
	armv7* | armv8l) echo arm ;;
	i?86) echo 386 ;;
	loongarch64) echo loong64 ;;
	*) uname -m ;;
	esac
}

fetch() {
	curl --fail --silent --show-error --location --retry 5 --retry-connrefused --output "$2" "$1" ||
		die "$1 can't be fetched. Which releases there are: $INPUT_RELEASES"
}

# verified CHECKSUM FILE ends all if the file is another one.
verified() {
	got=$(sha256sum "$2") && got=${got%% *}
	[ "$1" = "$got" ] || die "$2 has the checksum $got, and should have $1: nothing of it was used"
}

# release fetches a release, and prints where its program is.
release() {
	tarball=builder-linux-$(architecture).tar.gz
	case $INPUT_VERSION in
	'' | latest) from=$INPUT_RELEASES/latest/download ;;
	v[0-9]* | [0-9]*) from=$INPUT_RELEASES/download/v${INPUT_VERSION#v} ;;
	*) die "version \"$INPUT_VERSION\" is no release's: write latest, or one like v1.2.0" ;;
	esac
	into=$RUNNER_TEMP/builder
	rm -rf "$into"
	mkdir -p "$into/download"
	fetch "$from/$tarball" "$into/download/$tarball"
	wanted=$INPUT_CHECKSUM
	if [ -z "$wanted" ]; then
		fetch "$from/SHA256SUMS" "$into/download/SHA256SUMS"
		wanted=$(sed -n "s/^\([0-9a-f]\{64\}\) [ *]$tarball\$/\1/p" "$into/download/SHA256SUMS")
		[ -n "$wanted" ] || die "$from/SHA256SUMS says nothing of $tarball"
	fi
	verified "$wanted" "$into/download/$tarball"
	tar -xzf "$into/download/$tarball" -C "$into" --strip-components=1
	rm -r "$into/download"
	program=$into/bin/builder
}

if [ -n "$INPUT_PATH" ]; then
	if ! [ -f "$INPUT_PATH" ] || ! [ -x "$INPUT_PATH" ]; then die "path: $INPUT_PATH is no program"; fi
	program=$(cd "$(dirname "$INPUT_PATH")" && pwd)/$(basename "$INPUT_PATH")
else
	release
fi
"$program" --version || die "$program doesn't run on this machine, which is $(uname -sm)"
dirname "$program" >>"$GITHUB_PATH"
output path "$program"
