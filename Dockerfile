# builder's own image, which builder builds:
#
#   builder bud -t builder --build-arg VERSION=$(git describe --tags --always) .
#
# It has no more than builder and the programs that it starts. docs/install.md says
# how it is used; docs/kubernetes.md, with which privileges.
ARG GO_IMAGE=golang:1.26-trixie
ARG BASE=debian:trixie-slim

FROM ${GO_IMAGE} AS compile
WORKDIR /src
COPY . .
ARG VERSION=unknown
ARG COMMIT=unknown
ARG GOCACHE=/cache/build
ARG GOMODCACHE=/cache/modules
RUN --mount=type=cache,target=/cache make build "VERSION=$VERSION" "COMMIT=$COMMIT"

FROM ${BASE} AS root
RUN apt-get update && apt-get install -y --no-install-recommends \
	ca-certificates crun dash fuse-overlayfs git libcap2-bin mount openssh-client passt uidmap util-linux
RUN --mount=source=packaging/image,target=/packaging /packaging/root.sh /image

FROM scratch AS image
COPY --from=root /image /
COPY --from=compile /src/bin/builder /usr/bin/builder

# Isolation is the best that the place permits; in a pod of root without user
# namespaces that is chroot, which builder takes nowhere else without being told.
ENV PATH=/usr/local/bin:/usr/bin \
	BUILDER_ISOLATION=any
# Numbers, by which Kubernetes sees that this isn't root. /etc/passwd calls it build.
USER 1000:1000
WORKDIR /workspace
ENTRYPOINT ["builder"]
CMD ["--help"]

# The image for who has kaniko's command lines: --target executor.
FROM image AS executor
ENTRYPOINT ["/kaniko/executor"]

FROM image
