#!/usr/bin/env bash
# compile.sh <check> <repository> [argument]: one compile check; exit 4 means skipped.
#
# Nothing here is built by CMake: it is what a user's own command line would be.
set -euo pipefail
check=$1
repository=$2
argument=${3:-}
here=$repository/tests/consumers
include=$repository/include
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

warnings=(-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)

skip() {
  echo "Skipped: $*"
  exit 4
}

need() { command -v "$1" >/dev/null || skip "$1 is not installed"; }

gxx() {
  if [ -n "${CXX:-}" ]; then echo "$CXX"; elif command -v g++-12 >/dev/null; then echo g++-12; else echo g++; fi
}

# The headers that a program without Boost and httplib can include: those that users name, and at
# full scale all of them.
client_headers() {
  local depth=(-path '*/http/*' -o -path 'hf/*' ! -path 'hf/sandbox/*/*' -o -path 'hf/sandbox/launchers/*.hpp' -o -path 'hf/sandbox/transports/*.hpp' ! -path 'hf/sandbox/transports/*/*')
  if [ "${HF_SANDBOX_TEST_SCALE:-}" = full ]; then
    depth=(-true)
  fi
  (cd "$include" && find hf -name '*.hpp' ! -name 'beast*' ! -name 'httplib*' ! -path '*/beast/*' ! -path '*/httplib/*' \
    \( "${depth[@]}" \) | LC_ALL=C sort)
}

case $check in
  # The single header in an empty project, as the README says.
  single_header)
    cp "$repository/single_include/hf/sandbox.hpp" "$work"
    sed 's,<hf/sandbox.hpp>,"sandbox.hpp",' "$here/program.cpp" >"$work/main.cpp"
    cd "$work" && "$(gxx)" -std=c++20 main.cpp -lcurl -lcrypto -o program && ./program
    ;;

  plain_include)
    "$(gxx)" -std=c++20 -I"$include" "$here/program.cpp" -lcurl -lcrypto -o "$work/program"
    "$work/program"
    ;;

  no_curl)
    "$(gxx)" -std=c++20 -DHF_SANDBOX_NO_CURL -I"$repository/single_include" "$here/program.cpp" -lcrypto -o "$work/program"
    "$work/program"
    ! ldd "$work/program" | grep -q libcurl
    ;;

  # argument: the folder of hf-sandbox.pc
  pkg_config)
    need pkg-config
    export PKG_CONFIG_PATH=$argument
    # shellcheck disable=SC2046
    "$(gxx)" -std=c++20 "$here/program.cpp" $(pkg-config --cflags --libs hf-sandbox) -o "$work/program"
    "$work/program"
    ;;

  # argument: a compiler, then flags
  warnings)
    read -ra command <<<"$argument"
    need "${command[0]}"
    "${command[@]}" "${warnings[@]}" -fsyntax-only -I"$include" "$here/program.cpp"
    ;;

  # Every header on its own, some at a time.
  headers_alone)
    compiler=$(gxx)
    echo "$(client_headers | wc -l) headers"
    client_headers | xargs -P 2 -I{} sh -c \
      "echo '#include <{}>' | '$compiler' -std=c++20 ${warnings[*]} -fsyntax-only -I'$include' -x c++ - || { echo 'alone: {}'; exit 255; }"
    ;;

  # Macros that other people's headers define, after all third-party and standard headers.
  macro_poison)
    {
      # Standard and third-party headers come first: they are not ours to protect.
      grep -rhoE '^ *# *include <[^>]+>' "$include/hf" | grep -vE '<(hf/|boost/|httplib|windows|winsock|ws2|io\.h|direct|process\.h|bcrypt|aclapi)' |
        LC_ALL=C sort -u | while read -r line; do
          name=${line#*<}
          printf '#if __has_include(<%s>)\n%s\n#endif\n' "${name%>}" "$line"
        done
      for macro in min max major minor makedev GetObject SendMessage CreateFile DeleteFile; do
        printf '#undef %s\n#define %s(...) poisoned by a macro\n' "$macro" "$macro"
      done
      for macro in ERROR DELETE IN OUT OPTIONAL CONST TRUE FALSE BOOL VOID STRICT PASCAL NO_ERROR DIFFERENCE \
        Yield I unix linux small near far interface stdin stdout stderr; do
        printf '#undef %s\n#define %s poisoned by a macro\n' "$macro" "$macro"
      done
      echo '#include <hf/sandbox.hpp>'
    } >"$work/poison.cpp"
    "$(gxx)" -std=c++20 -fsyntax-only -I"$include" "$work/poison.cpp"
    ;;

  # The client's headers on Windows, with the system's own third-party headers.
  mingw)
    need x86_64-w64-mingw32-g++-posix
    mkdir "$work/include"
    for name in nlohmann curl openssl; do
      for base in "/usr/include/$(gcc -print-multiarch 2>/dev/null || true)" /usr/include; do
        if [ -d "$base/$name" ]; then
          mkdir -p "$work/include/$name"
          cp -rn "$base/$name/." "$work/include/$name/"
        fi
      done
    done
    [ -d "$work/include/nlohmann" ] && [ -d "$work/include/curl" ] || skip "the third-party headers are not in /usr/include"
    x86_64-w64-mingw32-g++-posix -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I"$include" \
      -isystem "$work/include" "$here/program.cpp"
    ;;

  libcxx)
    # A compiler with the library of its own version, else what plain clang++ has.
    compiler=""
    for version in 20 19 18 17 16 15 14; do
      if command -v "clang++-$version" >/dev/null && [ -e "/usr/lib/llvm-$version/include/c++/v1/version" ]; then
        compiler=clang++-$version
        break
      fi
    done
    if [ -z "$compiler" ] && echo '#include <version>' | clang++ -std=c++20 -stdlib=libc++ -fsyntax-only -x c++ - 2>/dev/null; then
      compiler=clang++
    fi
    [ -n "$compiler" ] || skip "no clang with libc++ is installed"
    echo "$compiler"
    "$compiler" -std=c++20 -stdlib=libc++ "${warnings[@]}" -fsyntax-only -I"$include" "$here/program.cpp"
    ;;

  *)
    echo "unknown check $check" >&2
    exit 2
    ;;
esac
