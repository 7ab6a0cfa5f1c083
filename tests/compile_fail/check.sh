#!/bin/sh
# Compiles every mistake of a file with one compiler: check.sh COMPILER SOURCE [FLAGS...]
# Each has to fail with at most 40 lines that contain what its "expect:" comment says (one of several, with "or" between).
set -u
compiler=$1
source=$2
shift 2

command -v "$compiler" >/dev/null || { echo "skipped: no $compiler here"; exit 77; }
# Compilers differ in how they quote the source: 7 lines with g++ 12, 28 with g++ 16. A diagnostic
# that shows the library's own templates has hundreds.
most=40
failed=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT
for use in BY_CLIENT BY_CONCEPT; do
  if ! "$compiler" -std=c++20 -fsyntax-only "-D$use" -DCASE=0 "$@" "$source" >"$output" 2>&1; then
    echo "$use: the right form does not compile:"
    cat "$output"
    failed=1
  fi
  for case in $(sed -n 's/^#\(el\)\{0,1\}if CASE == \([0-9]*\).*/\2/p' "$source"); do
    expect=$(sed -n "/CASE == $case\$/,/expect:/s/.*expect: //p" "$source" | sed 's/ or /\n/g')
    if "$compiler" -std=c++20 -fsyntax-only "-D$use" "-DCASE=$case" "$@" "$source" >"$output" 2>&1; then
      echo "$use case $case: compiles, but must not"
      failed=1
      continue
    fi
    lines=$(wc -l <"$output")
    echo "$use case $case: $lines lines"
    if [ "$lines" -gt "$most" ] || ! grep -qF "$expect" "$output"; then
      echo "more than $most lines, or without '$expect':"
      cat "$output"
      failed=1
    fi
  done
done
exit $failed
