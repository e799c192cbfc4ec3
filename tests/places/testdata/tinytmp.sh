# shellcheck shell=sh
# Images larger than /tmp by every way in and out, on a root that can't be written to:
# what is large goes by the store, which has the room.
set -e
cd /store
exec 2>/store/notices
trap 'test $? = 0 || cat /store/notices' EXIT
mkdir context
head -c 20000000 /dev/urandom >context/big
cat >context/Dockerfile <<'DOCKERFILE'
FROM base
COPY big /big
RUN head -c 9000000 /dev/zero >/tmp/zeros
DOCKERFILE
builder import /img.tar base
builder bud -q -t first context
tar -C context -c . | builder bud -q -t second -
builder save -o first.tar first
builder rmi first
builder load <first.tar
builder run --rm first sh -c 'cat /big >/tmp/copy'
builder run --name one first true
builder commit -q one third
builder export one >/dev/null
builder cp one:/big big
cmp big context/big
test "$(find /tmp -size +64k | wc -l)" = 0
echo all is well
