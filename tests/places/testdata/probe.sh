# shellcheck shell=sh
# What is tried in each place, as its user: /img.tar is a root file system. Each step
# prints "## NAME EXITCODE" and then all that it printed. STEPS names those that are
# taken, where not all are.
step() {
	name=$1
	shift
	case " ${STEPS:-$name} " in *" $name "*) ;; *) return ;; esac
	out=$(timeout 300 "$@" 2>&1)
	printf '## %s %d\n%s\n' "$name" $? "$out"
}

# In a path that everybody can write to, which a read-only root leaves.
dir=$(mktemp -d "${WORK:-/tmp}/probe.XXXXXX")
trap 'rm -rf "${dir:?}"' EXIT
cd "$dir" || exit
mkdir context
echo hello >context/file

cat >copy <<'DOCKERFILE'
FROM base
COPY --chown=33:33 file /srv/file
ENV A=b
DOCKERFILE
cat >run <<'DOCKERFILE'
FROM base
COPY file /srv/file
RUN test "$(id -u)" = 0 && cat /srv/file >/made && rm /srv/file
RUN test -e /made && test ! -e /srv/file
DOCKERFILE
cat >proc <<'DOCKERFILE'
FROM base
RUN test -e /proc/self/status
DOCKERFILE
cat >owners <<'DOCKERFILE'
FROM base
RUN touch /made && chown 33:50 /made && test "$(stat -c %u:%g /made)" = 33:50
USER www-data
RUN test "$(id -u)" = 33
DOCKERFILE

step info sh -c 'exec builder info --format json 2>/dev/null'
step doctor builder doctor
step doctor-json sh -c 'exec builder doctor --format json 2>/dev/null'
step base builder import /img.tar base
step copy builder bud -q -f copy context
step run builder bud -q -f run context
step owners builder bud -q -f owners context
step emulated builder bud -q --emulate-ids -f owners context
step proc builder bud -q -f proc context
step container builder run --rm base echo hello
