#!/bin/sh
# Makes the tables of system calls out of golang.org/x/sys/unix.
set -eu
cd "$(dirname "$0")"
dir=$(go list -m -f '{{.Dir}}' golang.org/x/sys)/unix
for arch in amd64 386 arm64 arm riscv64 ppc64le s390x loong64; do
	sed -n 's/^[[:space:]]*SYS_\([A-Z0-9_]*\)[[:space:]]*= \([0-9]*\).*/\1 \2/p' "$dir/zsysnum_linux_$arch.go" |
		tr '[:upper:]' '[:lower:]' >"syscalls_$arch.txt"
done
# The private calls of 32-bit ARM (__ARM_NR_*) are in no file of numbers.
printf '%s\n' 'breakpoint 983041' 'cacheflush 983042' 'usr26 983043' 'usr32 983044' 'set_tls 983045' 'get_tls 983046' >>syscalls_arm.txt
