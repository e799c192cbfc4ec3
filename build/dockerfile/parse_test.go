package dockerfile_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func parse(t testing.TB, src string, o dockerfile.Options) *dockerfile.File {
	t.Helper()
	f, err := dockerfile.Parse("Dockerfile", []byte(src), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, src)
	}
	return f
}

func TestParseGivesTypedStages(t *testing.T) {
	f := parse(t, `# syntax=docker/dockerfile:1.7
ARG BASE=debian
ARG VERSION
FROM --platform=$BUILDPLATFORM golang:1.25 AS Build
WORKDIR /src
COPY go.mod \
     # a comment in between
     go.sum ./
RUN go build ./...

FROM ${BASE}:${VERSION:-12}
COPY --from=build /src/app /app
COPY --from=0 /src/LICENSE /
COPY --from=nginx:1 /etc/nginx /etc/nginx
FROM build
RUN <<EOF
echo hello
