#!/usr/bin/env bash
# launcher.sh - drives ./weft as a user would: up, kill, up again, down, and all that can be in its way
#
# Usage: launcher.sh BUILD_FOLDER
set -euo pipefail

export WEFT_BUILD=$1
unset WEFT_DATABASE_URL WEFT_BROKERS WEFT_LOG WEFT_LOG_FORMAT
source_root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
work=$(mktemp -d /tmp/weft-launcher.XXXXXX)
home="$work/a checkout" # with a space
mkdir -- "$home"
cp -- "$source_root/weft" "$home/weft"
cd -- "$home"

# shellcheck disable=SC2317 # reached by the trap
finish() {
    local code=$?
    if ((code)); then tail -n 15 -- "$home"/.weft/log/*.log >&2 || true; fi
    ./weft down >/dev/null 2>&1 || true
    local data
    data=$(readlink -- .weft/pg || true) # as root it lies elsewhere
    [[ $data != /var/lib/weft/* ]] || rm -rf -- "$data"
    cd /
    rm -rf -- "$work"
    exit "$code"
}
trap finish EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

step() { echo "--- $*"; }

in_use() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_port() { # sets `port`; those from 15000 on are the other tests', which run at the same time
    port=$((12000 + RANDOM % 3000))
    while in_use "$port"; do port=$((port + 1)); done
}

# expect CODE PATTERN COMMAND...: the command ends so and says so.
expect() {
    local code=0 out
    out=$("${@:3}" 2>&1 </dev/null) || code=$?
    [[ $code == "$1" ]] || fail "${*:3}: ended with $code, not $1: $out"
    grep -q -e "$2" <<<"$out" || fail "${*:3}: does not say \"$2\": $out"
}

pid_of() { cut -d ' ' -f 1 -- ".weft/run/$1.pid"; }
kill_and_wait() { # PID...
    local pid
    kill -KILL "$@"
    for pid in "$@"; do until gone "$pid"; do sleep 0.05; done; done
}
gone() { [[ ! -e /proc/$1/stat ]] || [[ $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) == Z* ]]; }

free_port && http=$port
# Three brokers take six ports in a row.
in_a_row() { # sets `front`
    local next
    free_port && front=$port
    for ((next = front; next < front + 6; next++)); do
        if ((next == http)) || in_use "$next"; then return 1; fi
    done
}
until in_a_row; do :; done
back=$((front + 1))
ports=(--port "$http" --front-port "$front" --back-port "$back")
notes=http://127.0.0.1:$http/v1/notes

step "what is not up"
expect 0 "not up" ./weft down
expect 3 "broker .*down" ./weft status
expect 2 "Usage" ./weft up --nonsense
expect 1 "wants a port" ./weft up --port 70000
expect 1 "wants a number from 1 to 9" ./weft up --brokers 10
expect 1 "wants a number from 1 to 9" ./weft up --brokers
expect 1 "the ports of broker2, .* are those of another" ./weft up -d --brokers 2 --front-port "$front" \
    --back-port $((front + 2))
expect 0 "Usage" ./weft help

step "a folder that is not ours"
as=()
if ((EUID == 0)); then
    as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
    chmod 0755 "$work"
else
    chmod 0555 "$home"
fi
expect 1 "permission denied" "${as[@]}" env -u WEFT_BUILD ./weft up -d # which nobody may not see
chmod 0755 "$home"

step "up"
expect 0 "weft is up" ./weft up -d "${ports[@]}"
expect 0 "gateway .* yes" ./weft status
expect 0 "already up" ./weft up -d
location=$(curl -sS -i --json '{"title":"kept","text":"b"}' "$notes" | sed -n 's/^[Ll]ocation: *\(.*\)\r$/\1/p')
[[ $location == /v1/notes/* ]] || fail "no Location for a new note"
note=http://127.0.0.1:$http$location
expect 0 '"kept"' curl -sSf "$note"
expect 0 '"a"' ./weft call echo.echo '{"a":1}'
expect 0 "broker" ./weft logs broker
expect 1 "no component" ./weft logs nothing

step "one is killed: status tells, up starts it again, the others stay"
gateway=$(pid_of gateway)
broker=$(pid_of broker)
kill_and_wait "$broker"
expect 1 "broker .*down" ./weft status
expect 0 "without broker" ./weft up -d
expect 0 "broker .* yes" ./weft status
[[ $(pid_of gateway) == "$gateway" ]] || fail "the gateway was restarted"
expect 0 '"kept"' curl -sSf "$note"

step "all components are killed at once, the supervisor lives: up starts them again, each time"
supervisor=$(pid_of up)
for round in 1 2 3; do
    all=()
    for name in broker gateway jobs notes echo; do all+=("$(pid_of "$name")"); done
    kill -KILL "${all[@]}"
    # At once in the first round: they may not even have gone.
    ((round == 1)) || for pid in "${all[@]}"; do until gone "$pid"; do sleep 0.05; done; done
    expect 0 "weft is up" ./weft up -d
    expect 0 "gateway .* yes" ./weft status
    expect 0 '"kept"' curl -sSf "$note"
    for pid in "${all[@]}"; do gone "$pid" || fail "process $pid lives"; done
done
[[ $(pid_of up) == "$supervisor" ]] || fail "the supervisor was restarted"

step "PostgreSQL is killed, and a handler with it"
kill_and_wait "$(head -n 1 .weft/pg/data/postmaster.pid)" "$(pid_of notes)"
expect 0 "without notes" ./weft up -d
expect 0 "postgresql .* yes" ./weft status
expect 0 '"kept"' curl -sSf "$note"

step "one that cannot be started again: up says so, the others stay"
gateway=$(pid_of gateway)
ops=$(sed -n 's/^ops_echo=//p' .weft/run/settings)
kill_and_wait "$(pid_of echo)"
WEFT_OPS=127.0.0.1:$ops "$WEFT_BUILD/handlers/echo/weft-echo" >"$work/other" 2>&1 &
other=$!
until in_use "$ops"; do
    gone "$other" && fail "the other echo ended: $(cat -- "$work/other")"
    sleep 0.05
done
expect 1 "could not start all" ./weft up -d
[[ $(pid_of gateway) == "$gateway" ]] || fail "the gateway was restarted"
expect 0 '"kept"' curl -sSf "$note"
kill_and_wait "$other"
expect 0 "without echo" ./weft up -d
expect 0 '"a"' ./weft call echo.echo '{"a":1}'

step "a supervisor that is stopped: up does not wait for ever"
kill -STOP "$supervisor"
expect 1 "process $supervisor, has not answered for 10 s: it is stopped" ./weft up -d
kill -CONT "$supervisor"
expect 0 "already up" ./weft up -d

step "all are killed: the note is there after the next up, and two jobs are: one ran, one waited"
async() { # PATH JSON: sets `job`
    job=$(curl -sSf --json "$2" -H 'Prefer: respond-async' "http://127.0.0.1:$http$1" | sed -n 's/^.*"id":"\([0-9]*\)".*$/\1/p')
    [[ $job ]] || fail "no job for $1"
}
expect 0 "weft is up" ./weft up -d
async /v1/call/echo/delay '{"ms":2000}' && ran=$job
until state=$(./weft jobs get "$ran") && grep -q '^state  *running$' <<<"$state"; do
    if grep -q '^state  *succeeded$' <<<"$state"; then # too late to see it run: another one
        async /v1/call/echo/delay '{"ms":2000}' && ran=$job
    fi
    sleep 0.05
done
expect 0 "paused" ./weft jobs pause notes --reason "about to be killed"
async /v1/notes/exports '{}' && waited=$job
expect 0 "state  *queued" ./weft jobs get "$waited"
all=("$(head -n 1 .weft/pg/data/postmaster.pid)")
for name in up broker gateway jobs notes echo; do all+=("$(pid_of "$name")"); done
kill_and_wait "${all[@]}"
expect 3 "broker .*down" ./weft status
expect 0 "weft is up" ./weft up -d "${ports[@]}"
expect 0 '"kept"' curl -sSf "$note"
expect 0 "state  *succeeded" ./weft jobs get "$ran" --wait 60
expect 0 "paused  *no" ./weft jobs resume notes
expect 0 "state  *succeeded" ./weft jobs get "$waited" --wait 60
expect 0 '"notes":[1-9]' curl -sSf "http://127.0.0.1:$http/v1/jobs/$waited"

step "a pid file of a process that is not ours"
pid=$(pid_of echo)
cp .weft/run/echo.pid "$work/echo.pid"
echo "$$ 1 nothing" >.weft/run/echo.pid
expect 1 "echo .*down" ./weft status
cp "$work/echo.pid" .weft/run/echo.pid

step "the supervisor is killed: down ends what it left"
kill -KILL "$(pid_of up)"
expect 0 "supervisor was gone" ./weft down
gone "$pid" || fail "echo still runs"

step "a port in use"
expect 0 "weft is up" ./weft up -d "${ports[@]}"
mkdir -- "$work/second"
cp -- weft "$work/second/weft"
expect 1 "port $http (HTTP) is in use" "$work/second/weft" up -d "${ports[@]}"

step "down"
expect 0 "weft is down" ./weft down
expect 3 "broker .*down" ./weft status

step "down while up is at work: the supervisor is told, not left behind"
for ((try = 1; ; try++)); do
    ./weft up -d "${ports[@]}" >"$work/begun" 2>&1 &
    pid=$!
    until grep -q starting .weft/run/state; do
        kill -0 "$pid" 2>/dev/null || break
    done
    ! kill -0 "$pid" 2>/dev/null || break
    # It was up before we looked, or is not up at all.
    wait "$pid" || fail "up ended: $(cat -- "$work/begun")"
    ((try < 10)) || fail "up is never seen at work"
    expect 0 "weft is down$" ./weft down
done
expect 0 "weft is down$" ./weft down
wait "$pid" || true # it may have been up before, or not
expect 3 "postgresql .*down" ./weft status

step "a component that dies at once shows its last words"
expect 1 "WEFT_LOG: \"loud\" is none of" env WEFT_LOG=loud ./weft up -d "${ports[@]}"
expect 3 "postgresql .*down" ./weft status

step "in the foreground: SIGTERM stops all"
./weft up "${ports[@]}" >"$work/foreground" 2>&1 &
pid=$!
until grep -q "weft is up" "$work/foreground"; do
    kill -0 "$pid" 2>/dev/null || fail "up ended: $(cat -- "$work/foreground")"
    sleep 0.05
done
kill -TERM "$pid"
code=0
wait "$pid" || code=$?
((code == 0)) || fail "up ended with $code: $(cat -- "$work/foreground")"
expect 3 "postgresql .*down" ./weft status

step "three brokers: two are killed and nothing fails; up starts them again; another number needs a down"
expect 0 "tcp://127.0.0.1:$((front + 4)) for clients" ./weft up -d --brokers 3 "${ports[@]}"
expect 0 "broker3 .* yes" ./weft status
third=$(pid_of broker3)
kill_and_wait "$(pid_of broker)" "$(pid_of broker2)"
for round in 1 2 3 4 5; do
    expect 0 '"a"' ./weft call echo.echo '{"a":1}'
    expect 0 '"kept"' curl -sSf "$note"
done
expect 1 "nothing was changed" ./weft up -d --brokers 2
expect 1 "broker2 .*down" ./weft status
expect 0 "without broker broker2" ./weft up -d --brokers 3
expect 0 "broker2 .* yes" ./weft status
[[ $(pid_of broker3) == "$third" ]] || fail "a broker that lived was restarted"
kill_and_wait "$third"
expect 0 '"a"' ./weft call echo.echo '{"a":1}'
expect 0 "without broker3" ./weft up -d
expect 0 "broker" ./weft logs broker3
expect 1 "there is no broker4" ./weft logs broker4

step "the supervisor of three brokers is killed: the next up has one, and ends the others"
kill -KILL "$(pid_of up)"
expect 0 "weft is up" ./weft up -d "${ports[@]}"
expect 0 "broker .* yes" ./weft status
in_use "$((front + 2))" && fail "broker2 still runs"
[[ $(./weft status) != *broker2* ]] || fail "status shows a broker that is not there"
expect 0 "weft is down" ./weft down
echo "all as it should be"
