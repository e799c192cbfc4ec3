# shellcheck shell=sh
# What the examples of pods are to build, by kaniko's command line. Each step prints
# "## NAME EXITCODE" and then all that it printed.
step() {
	name=$1
	shift
	out=$(timeout 300 "$@" 2>&1)
	printf '## %s %d\n%s\n' "$name" $? "$out"
}

cd /tmp || exit
mkdir copy run proc
echo hello | tee copy/file >run/file
cat >copy/Dockerfile <<'DOCKERFILE'
FROM base
COPY --chown=33:33 file /srv/file
ENV A=b
DOCKERFILE
cat >run/Dockerfile <<'DOCKERFILE'
FROM base
COPY file /srv/file
RUN test "$(id -u)" = 0 && chown 33:50 /srv/file && test "$(stat -c %u:%g /srv/file)" = 33:50
USER 33
RUN test "$(id -u)" = 33 && cat /srv/file
DOCKERFILE
cat >proc/Dockerfile <<'DOCKERFILE'
FROM base
RUN test -e /proc/self/status
DOCKERFILE

ln -s /usr/bin/builder executor
step base builder import /img.tar base
step login builder login --get-login registry.example.com
for what in copy run proc; do
	step $what ./executor "--context=dir:///tmp/$what" --destination=registry.example.com/app --no-push \
		--oci-layout-path=/tmp/layout "--digest-file=/tmp/$what.digest"
done
step info builder info
step doctor builder doctor
