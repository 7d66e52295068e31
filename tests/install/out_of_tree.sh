#!/usr/bin/env bash
# out_of_tree.sh - installs weft, builds a handler against it from outside the tree, and calls that handler
#
# Usage: out_of_tree.sh BUILD_FOLDER C_COMPILER [C_FLAGS]
# The handler is built twice: by CMake's find_package, and by hand with pkg-config.
set -euo pipefail

build=$1 compiler=$2 flags=${3:-}
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d /tmp/weft-install.XXXXXX)
prefix=$work/prefix
pids=()

# shellcheck disable=SC2317 # reached by the trap
finish() {
    ((${#pids[@]} == 0)) || kill -KILL "${pids[@]}" 2>/dev/null || true
    rm -rf -- "$work"
}
trap finish EXIT

fail() {
    echo "FAILED: $*" >&2
    tail -n 20 -- "$work"/*.log >&2 || true
    exit 1
}

# Until the command succeeds; ctest ends the test if it never does.
until_true() {
    until "$@" >/dev/null 2>&1; do
        kill -0 "${pids[@]}" 2>/dev/null || fail "a process died while waiting for: $*"
        sleep 0.05
    done
}

# stop PID: by SIGTERM, with exit code 0.
stop() {
    local code=0
    kill -TERM "$1"
    wait "$1" || code=$?
    ((code == 0)) || fail "process $1 ended with $code"
}

cmake --install "$build" --prefix "$prefix" >"$work/install.log"

for file in bin/weft bin/weft-broker bin/weft-gateway bin/weft-jobs bin/weft-notes bin/weft-echo \
    include/weft/handler.h share/weft/jobs/migrations share/weft/notes/migrations; do
    [[ -e $prefix/$file ]] || fail "$file was not installed"
done
root=$(cd -- "$here/../.." && pwd -P)
! grep -rlF --include='*.h' --include='*.cmake' --include='*.pc' -- "$root" "$prefix" ||
    fail "the installed files above name the source folder"

# Every public header stands alone, in C and in C++.
pkgconfig=$(dirname -- "$(find "$prefix" -name weft.pc)")
export PKG_CONFIG_PATH=$pkgconfig
read -ra cflags <<<"$(pkg-config --cflags weft) $flags"
read -ra libs <<<"$(pkg-config --libs weft)"
for header in "$prefix"/include/weft/*.h; do
    echo "#include <weft/$(basename -- "$header")>" >"$work/alone.c"
    "$compiler" -std=c11 -Wall -Wextra -Werror "${cflags[@]}" -fsyntax-only "$work/alone.c" || fail "$header in C"
    if command -v g++ >/dev/null; then
        g++ -std=c++11 -Wall -Werror "${cflags[@]}" -fsyntax-only -x c++ "$work/alone.c" || fail "$header in C++"
    fi
done

# The project is copied: nothing of the source tree may be in reach.
cp -r -- "$here/greet" "$work/greet"
cmake -S "$work/greet" -B "$work/by-cmake" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$compiler" \
    -DCMAKE_C_FLAGS="$flags" >"$work/configure.log" 2>&1 || fail "find_package"
cmake --build "$work/by-cmake" >"$work/build.log" 2>&1 || fail "the build by CMake"
"$compiler" -std=c11 "${cflags[@]}" "$work/greet/greet.c" "${libs[@]}" -o "$work/by-pkg-config" || fail "the build by pkg-config"
[[ $("$work/by-pkg-config" --version) == "by-pkg-config $(pkg-config --modversion weft)" ]] || fail "--version"

front=ipc://$work/front back=ipc://$work/back
WEFT_FRONTEND=$front WEFT_BACKEND=$back WEFT_OPS="" "$prefix/bin/weft-broker" >"$work/broker.log" 2>&1 &
broker=$!
pids+=("$broker")
export WEFT_BROKERS=$front WEFT_WORKER_BROKERS=$back
for handler in "$work/by-cmake/greet" "$work/by-pkg-config"; do
    "$handler" >"$work/handler.log" 2>&1 &
    pid=$!
    pids=("$broker" "$pid")
    until_true "$prefix/bin/weft" call greeter.greet '{"name":"mesh"}'
    answer=$("$prefix/bin/weft" call greeter.greet '{"name":"mesh"}' | tr -d ' \n')
    [[ $answer == '{"greets":"mesh"}' ]] || fail "the answer was $answer"
    ! "$prefix/bin/weft" call greeter.greet '{"name":7}' >"$work/refused.log" 2>&1 || fail "a wrong type was accepted"
    grep -q INVALID_ARGUMENT "$work/refused.log" || fail "the refusal does not say INVALID_ARGUMENT"
    stop "$pid"
done
pids=()
stop "$broker"
echo "installed, built twice out of tree, called"
