#!/usr/bin/env bash
# build.sh <source dir> <build dir> [cmake options...]: configures, builds and runs one consumer.
set -euo pipefail
source=$1
build=$2
shift 2
rm -rf "$build"
cmake -S "$source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0 "$@"
cmake --build "$build"
"$build/consumer"
