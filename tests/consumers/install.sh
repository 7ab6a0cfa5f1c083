#!/usr/bin/env bash
# install.sh <build dir> <stage dir>: installs, then moves the tree, so that every consumer of it
# also shows that the package can be moved.
set -euo pipefail
rm -rf "$2"
cmake --install "$1" --prefix "$2/first" >/dev/null
mv "$2/first" "$2/moved"
if grep -rlI --include='*.cmake' --include='*.pc' -e "$1" -e "$2" "$2/moved"; then
  echo "the files above name the build or the install prefix"
  exit 1
fi
