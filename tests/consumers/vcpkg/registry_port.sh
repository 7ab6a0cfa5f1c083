#!/usr/bin/env bash
# registry_port.sh <repository> <work dir>: makes a registry's copy of the port from an archive of the
# repository's files, and runs its steps.
set -euo pipefail
repository=$1
work=$2
git -C "$repository" rev-parse HEAD >/dev/null 2>&1 || { echo "Skipped: not a git checkout"; exit 4; }
rm -rf "$work"
mkdir -p "$work"
git -C "$repository" ls-files -z |
  tar -C "$repository" --null --files-from=- --transform='s,^,hf-sandbox-release/,' -czf "$work/release.tar.gz"
"$repository/scripts/release" --port "$work/ports/hf-sandbox" --archive "$work/release.tar.gz"
cmake "-DPORT_DIR=$work/ports/hf-sandbox" "-DWORK=$work" -DFEATURES=core \
  "-DARCHIVE=$work/release.tar.gz" -P "$repository/tests/consumers/vcpkg/run_port.cmake"
