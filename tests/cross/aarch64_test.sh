#!/bin/sh
# aarch64_test.sh <source> <build> <agent tests>: builds the agent for aarch64 and runs those of its
# tests that are marked [portable] against it. Exit status 77: skipped.
set -eu
source=$1 build=$2 tests=$3

skip() {
  echo "skipped: $1"
  exit 77
}
command -v aarch64-linux-gnu-g++ >/dev/null || skip "no aarch64-linux-gnu-g++"
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || skip "no qemu-user for aarch64"

cmake -S "$source/agent" -B "$build" --toolchain "$source/cmake/toolchains/aarch64-linux-gnu.cmake" \
  ${HF_SANDBOX_CROSS_LAUNCHER:+-DCMAKE_CXX_COMPILER_LAUNCHER="$HF_SANDBOX_CROSS_LAUNCHER"} >"$build.log" 2>&1 ||
  { cat "$build.log"; exit 1; }
cmake --build "$build" -j "$(nproc)" >>"$build.log" 2>&1 || { tail -50 "$build.log"; exit 1; }

agent=$build/bin/hf-sandbox-agent
size=$(wc -c <"$agent")
echo "aarch64 agent: $size bytes"
if readelf -l "$agent" | grep -q INTERP; then
  echo "the agent is not static"
  exit 1
fi
printf '#!/bin/sh\nexec %s %s "$@"\n' "$qemu" "$agent" >"$build/agent"
chmod +x "$build/agent"
HF_SANDBOX_AGENT=$build/agent exec "$tests" "[portable]"
