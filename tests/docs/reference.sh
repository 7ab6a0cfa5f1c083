#!/bin/sh
# reference.sh <repository> <output folder> <version>: Doxygen, where a warning is an error.
set -eu
command -v doxygen >/dev/null || { echo "Skipped: doxygen is not installed"; exit 4; }
cd "$1"
rm -rf "$2"
mkdir -p "$2"
HF_SANDBOX_REFERENCE_DIR=$2 HF_SANDBOX_VERSION=$3 doxygen docs/Doxyfile
