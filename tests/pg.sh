#!/usr/bin/env bash
# pg.sh - runs a command with a throw-away PostgreSQL, whose URI is in WEFT_TEST_PG
#
# Usage: tests/pg.sh COMMAND [ARGUMENT...]
# The user of the URI may create databases.  Where WEFT_TEST_PG is set already, the command gets that one.
set -euo pipefail

(($#)) || {
    echo "usage: tests/pg.sh COMMAND [ARGUMENT...]" >&2
    exit 2
}
[[ ! ${WEFT_TEST_PG:-} ]] || exec "$@"

bin=/usr/lib/postgresql/15/bin
[[ -x $bin/postgres ]] || bin=$(dirname -- "$(readlink -f -- "$(command -v postgres)")")
home=$(mktemp -d /tmp/weft-pg.XXXXXX)
server=""

# shellcheck disable=SC2317 # reached by the trap
finish() {
    trap '' INT TERM
    if [[ $server ]]; then
        kill -INT "$server" 2>/dev/null || true # fast shutdown
        wait "$server" 2>/dev/null || true
    fi
    rm -rf -- "$home"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# PostgreSQL refuses to run as root.  It dies with this script, even by kill -9.
as=(setpriv)
if ((EUID == 0)); then
    as+=(--reuid postgres --regid postgres --init-groups)
    chown postgres: "$home"
fi
cd_and_run() (cd / && exec "${as[@]}" "$@")

cd_and_run "$bin/initdb" -D "$home/data" -U weft -E UTF8 --locale=C.UTF-8 --auth=trust --no-sync >"$home/initdb.log" 2>&1 || {
    cat -- "$home/initdb.log" >&2
    exit 1
}
(
    cd /
    exec setsid "${as[@]}" --pdeathsig QUIT "$bin/postgres" -D "$home/data" -c listen_addresses= -c unix_socket_directories="$home" \
        -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c max_connections=200 -c log_min_messages=fatal \
        </dev/null >"$home/log" 2>&1
) &
server=$!
for ((try = 0; ; try++)); do
    "$bin/pg_isready" -q -h "$home" && break
    if ((try == 600)) || ! kill -0 "$server" 2>/dev/null; then
        cat -- "$home/log" >&2
        echo "pg.sh: PostgreSQL did not start" >&2
        exit 1
    fi
    sleep 0.05
done

export WEFT_TEST_PG="postgresql://weft@/postgres?host=$home"
code=0
"$@" || code=$?
exit "$code"
