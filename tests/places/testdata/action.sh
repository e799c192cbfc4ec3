# shellcheck shell=sh
# A job's step that uses the action, as GitHub's runner runs it: the files that it
# gives, and each input of action.yml in the environment, from what this step sets.
set -eu
export GITHUB_ACTIONS=true GITHUB_ACTION_PATH=/ RUNNER_TEMP="$HOME/temp"
export GITHUB_OUTPUT="$HOME/output" GITHUB_PATH="$HOME/path" GITHUB_STEP_SUMMARY="$HOME/summary"
rm -rf "$RUNNER_TEMP" "$HOME/work"
mkdir -p "$RUNNER_TEMP" "$HOME/work"
for file in "$GITHUB_OUTPUT" "$GITHUB_PATH" "$GITHUB_STEP_SUMMARY"; do : >"$file"; done
cp /usr/bin/builder "$HOME/builder"
"$HOME/builder" import /img.tar base

# shellcheck disable=SC2013 # no name has a blank in it
for name in $(sed -n 's/^ *\(INPUT_[A-Z_]*\): .*/\1/p' /action/action.yml); do
	export "$name="
done
export INPUT_PATH="$HOME/builder" INPUT_CONTEXT=. INPUT_CALL=build
export INPUT_TAGS="app:1
app:latest" INPUT_BUILD_ARGS="WORD=hello" INPUT_SECRETS="token=hush"

cd "$HOME/work"
cat >Dockerfile <<'END'
FROM base
ARG WORD
RUN --mount=type=secret,id=token test "$(cat /run/secrets/token)" = hush && echo $WORD >/word && chown 33:33 /word
CMD ["cat", "/word"]
END

sh /action/get.sh
sh /action/prepare.sh "$HOME/builder"
sh /action/build.sh "$HOME/builder"

PATH=$(tail -n 1 "$GITHUB_PATH"):$PATH
builder run --rm app:1
for name in path imageid digest metadata; do grep -q "^$name<<" "$GITHUB_OUTPUT"; done
grep -q sha256: "$GITHUB_OUTPUT"
test -s "$GITHUB_STEP_SUMMARY"

# A second time nothing is installed, and nobody is root.
mkdir -p "$HOME/bin"
printf '#!/bin/sh\necho "root is not needed" >&2; exit 1\n' >"$HOME/bin/sudo"
chmod +x "$HOME/bin/sudo"
PATH=$HOME/bin:$PATH sh /action/prepare.sh "$HOME/builder"

# What fails stands beside the Dockerfile's line.
echo 'RUN exit 3' >>Dockerfile
if sh /action/build.sh "$HOME/builder" >"$HOME/log" 2>&1; then echo a failing build passes; exit 1; fi
grep '^::error .*file=Dockerfile,line=5' "$HOME/log"
echo all is well
