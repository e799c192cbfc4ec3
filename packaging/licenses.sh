#!/bin/sh
# licenses.sh prints the licenses and notices of all modules that are linked into
# builder, and of Go itself. GOFLAGS, GOOS and GOARCH say of which builder.
set -eu
cd "$(dirname "$0")/.."

printf '%s\n' 'builder contains the following modules, under the licenses that follow each name.'
{
	printf 'Go %s\t%s\n' "$(go env GOVERSION)" "$(go env GOROOT)"
	go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{"\t"}}{{.Dir}}{{end}}{{end}}' ./cmd/builder |
		LC_ALL=C sort -u
} | while IFS='	' read -r module dir; do
	# Only Go itself may have none here: a distribution's package has it elsewhere.
	found=$(find "$dir/" -maxdepth 1 -type f \( -iname '*licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' \) | LC_ALL=C sort)
	[ -n "$found" ] || [ "${module#Go }" != "$module" ] || { echo "$module has no license in $dir" >&2; exit 1; }
	for file in $found; do
		printf '\n%s\n%s: %s\n%s\n\n' "================================================================" \
			"$module" "${file##*/}" "----------------------------------------------------------------"
		cat "$file"
	done
done
