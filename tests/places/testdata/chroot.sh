# shellcheck shell=sh
# What root builds by chroot alone, with no namespace: prints the layers of an image,
# and what is refused. /img.tar is a base; ISOLATION is the level.
set -u
export BUILDER_ISOLATION="$ISOLATION" SOURCE_DATE_EPOCH=1600000000
mkdir -p /tmp/work/tree && cd /tmp/work || exit 1
echo file >tree/file
echo sesame >/tmp/secret
builder import /img.tar base >/dev/null || exit 1

cat >Dockerfile <<'END'
FROM base
COPY tree /tree
RUN mkdir -p /d/keep /d/gone /d/todir && echo 1 >/d/keep/f && echo 2 >/d/gone/f && ln -s f /d/link && mkfifo /d/fifo \
    && echo 6 >/d/h1 && ln /d/h1 /d/h2 && chown 33:50 /d/keep && chmod 2775 /d/keep && touch -d "1965-01-01 00:00:00" /d/old
# What is provided, and what is written to it.
RUN echo more >>/etc/hosts && echo more >>/etc/resolv.conf && echo x >/dev/null && touch /dev/shm/x /dev/mine && head -c 9 /dev/zero >/nine \
    && grep -q localhost /etc/hosts && grep -q builder /etc/hostname && touch /etc/new
RUN rm -r /d/gone && rm -r /d/todir && echo file >/d/todir && rm /d/link && ln -s g /d/link && rm /d/fifo
RUN true
RUN --mount=type=secret,id=s --mount=type=cache,target=/cache --mount=type=bind,target=/context --mount=type=tmpfs,target=/scratch \
    cp /context/tree/file /copied && cp /run/secrets/s /cache/s && touch /scratch/x && test "$(cat /run/secrets/s)" = sesame
RUN --mount=type=cache,target=/cache test "$(cat /cache/s)" = sesame && sleep 600 </dev/null >/dev/null 2>&1 & true
RUN <<END-OF-SCRIPT
echo by $(id -u) > /script
END-OF-SCRIPT
USER www-data
RUN id -u >/tmp/who
END
sed -i 's/END-OF-SCRIPT/EOF/' Dockerfile
builder bud -q --secret id=s,src=/tmp/secret -t app . >/tmp/log 2>&1 || cat /tmp/log
builder image inspect --format '{{range .RootFS.Layers}}layer {{.}}
{{end}}' app
find / -xdev -name '*.aside' | sed 's/^/left /'
for p in /proc/[0-9]*; do tr '\0' ' ' <"$p/cmdline" 2>/dev/null | grep -q '^sleep 600' && echo "left $p"; done

refused() {
	name=$1
	printf 'FROM base\nRUN %s\n' "$2" >Refused
	shift 2
	builder bud --no-cache "$@" -f Refused . >/tmp/log 2>&1
	echo "## $name $?"
	cat /tmp/log
}
refused network '--network=none true'
refused insecure '--security=insecure true' --allow security.insecure
refused volume true --volume /tmp:/x
refused sized '--mount=type=tmpfs,target=/x,size=1m true'
refused read-only '--mount=type=bind,target=/x touch /x/new'
refused shm-size true --shm-size 1m
refused capability true --cap-add SYS_ADMIN
echo "{\"defaultAction\": \"SCMP_ACT_ALLOW\"}" >profile.json
refused seccomp true --security-opt seccomp=/tmp/work/profile.json
refused code 'exit 7'
refused signal 'kill -9 $$'
refused nothing '["/no/such"]'
printf "## container "
builder run base true >/tmp/log 2>&1; echo $?; cat /tmp/log
