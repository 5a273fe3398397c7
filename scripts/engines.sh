#!/usr/bin/env bash
# Runs the real database engines that Braid is tested and measured against, on this machine, without containers.
#
#   scripts/engines.sh install [ENGINE...]    fetch what is missing, once for all checkouts
#   scripts/engines.sh up      [ENGINE...]    start what is not running and wait until each answers a real request (installs if need be)
#   scripts/engines.sh down    [ENGINE...]    stop what this script started, and nothing else
#   scripts/engines.sh restart ENGINE...      down, then up
#   scripts/engines.sh kill    ENGINE...      SIGKILL, for fault tests: the data stays as the crash left it
#   scripts/engines.sh pause   ENGINE...      SIGSTOP to it and its children: it accepts and does not answer; `resume` lets it go on
#   scripts/engines.sh status  [--json] [ENGINE...]   one line an engine; exit 0 when all of them are up
#   scripts/engines.sh env     [ENGINE...]    for those that are up: BRAID_TEST_MILVUS=127.0.0.1:29530, as in
#                                             env $(scripts/engines.sh env) build/asan/test/contract_vector
#   scripts/engines.sh wipe    ENGINE...      down, then remove the engine's data (and passwords and logs)
#
# ENGINE is milvus, neo4j, postgres, redis or toxiproxy; none means all. What it promises:
#   - Everything of an engine lies in its own folder, build/engines/ENGINE: data/, log (and log.1, the one before), pid, password (mode 600).
#   - Engines listen on 127.0.0.1 only, on ports of their own.
#   - `up` on running engines changes nothing and is quick; two at the same time do not disturb each other.
#   - A pid is believed only with the start time and boot that were noted beside it, so nothing of others is ever signalled.
#   - An interrupted install leaves nothing that looks complete: it grows under a temporary name and is renamed when done.
# Each engine is one file, scripts/engines/ENGINE.sh, with the same few functions; this file holds what they share.
#
# Environment: BRAID_ENGINES_DIR (default build/engines), BRAID_ENGINES_INSTALL (default ~/.cache/braid-engines),
# BRAID_ENGINES_<ENGINE>_PORT (29530, 27687, 25432, 26379, 28474), BRAID_ENGINES_TIMEOUT (seconds an engine may take to start, 120).
set -uo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$HERE")
PARTS=$HERE/engines
ALL=(milvus neo4j postgres redis toxiproxy)
DIR=$(realpath -m "${BRAID_ENGINES_DIR:-$ROOT/build/engines}")
INSTALL=$(realpath -m "${BRAID_ENGINES_INSTALL:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/braid-engines}")
START_SECONDS=${BRAID_ENGINES_TIMEOUT:-120}
LOG_BYTES=$((8 << 20)) # a log larger than this is set aside as log.1 at the next start

say() { printf 'braid: %s\n' "$*"; }
fail() { printf 'braid: %s\n' "$*" >&2; return 1; }
usage() { sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \{0,1\}//'; }

# ---- what an engine's file may use ----

port_of() { # ENGINE: where it runs, or else where it would
    local variable=BRAID_ENGINES_${1^^}_PORT default
    pid_of "$1" >/dev/null && cat "$(home_of "$1")/port" 2>/dev/null && return 0
    case $1 in milvus) default=29530 ;; neo4j) default=27687 ;; postgres) default=25432 ;; redis) default=26379 ;; toxiproxy) default=28474 ;; esac
    printf '%s' "${!variable:-$default}"
}

home_of() { printf '%s/%s' "$DIR" "$1"; }                   # the engine's folder in this checkout
program_of() { printf '%s/%s-%s' "$INSTALL" "$1" "$("$1_pin")"; } # where it is installed, for all checkouts

write_new() { # FILE MODE: standard input under a temporary name, then renamed
    (umask 077 && cat >"$1.new") && chmod "$2" "$1.new" && mv -f "$1.new" "$1"
}

make_password() { # FILE: 32 random letters and digits, once
    [ -s "$1" ] || od -An -N16 -tx1 /dev/urandom | tr -d ' \n' | write_new "$1" 600
}

sum_of() { cat "$@" | cksum | cut -d' ' -f1; } # FILE...: what makes an install another one when its sources change

pip_unpack() { # FOLDER: what scripts/engines/ENGINE.txt pins, unpacked there; pip is borrowed from a short-lived environment
    local folder=$1 pins=$2 venv=$1/.venv
    python3 -m venv "$venv" || { echo "python3 -m venv failed: install python3-venv (scripts/deps.sh engines)"; return 1; }
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-compile --no-deps --only-binary :all: --target "$folder/lib" -r "$pins" || return 1
    rm -rf "$venv"
}

launch() { # ENGINE COMMAND...: in a session of its own, its output to the log, its identity noted
    local home pid
    home=$(home_of "$1")
    port_of "$1" | write_new "$home/port" 644 || return 1
    shift
    [ "$(stat -c %s "$home/log" 2>/dev/null || echo 0)" -gt "$LOG_BYTES" ] && mv -f "$home/log" "$home/log.1"
    setsid "$@" </dev/null >>"$home/log" 2>&1 9>&- 8>&- &
    pid=$!
    identity "$pid" | write_new "$home/pid" 644
}

# ---- processes ----

identity() { # PID: "pid start-time boot", or nothing for one that is gone or only waits to be buried
    local line
    read -r line 2>/dev/null <"/proc/$1/stat" || return 1
    # shellcheck disable=SC2086
    set -- "$1" ${line##*) }
    [ "$2" = Z ] && return 1
    printf '%s %s %s\n' "$1" "${21}" "$(cat /proc/sys/kernel/random/boot_id)"
}

pid_of() { # ENGINE: its pid if it is running and is the process that this script started
    local noted pid
    read -r noted 2>/dev/null <"$(home_of "$1")/pid" || return 1
    pid=${noted%% *}
    [ "$(identity "$pid" 2>/dev/null)" = "$noted" ] && printf '%s' "$pid"
}

family_of() { # PID: it and all its descendants
    local stat line found=" $1 " grown=1 pid
    local -A parent=()
    for stat in /proc/[0-9]*/stat; do
        read -r line 2>/dev/null <"$stat" || continue
        pid=${line%% *}
        line=${line##*) }
        line=${line#* }
        parent[$pid]=${line%% *}
    done
    while [ $grown = 1 ]; do
        grown=0
        for pid in "${!parent[@]}"; do
            [[ $found != *" $pid "* && $found == *" ${parent[$pid]} "* ]] && found+="$pid " && grown=1
        done
    done
    printf '%s' "$found"
}

rss_kb_of() { # PID: resident memory of it and its descendants; pages that they share count once for each
    local pid total=0 kb
    for pid in $(family_of "$1"); do
        kb=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null)
        total=$((total + ${kb:-0}))
    done
    printf '%s' "$total"
}

gone_within() { # PID TENTHS
    local i
    for ((i = 0; i < $2; i++)); do
        identity "$1" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    ! identity "$1" >/dev/null 2>&1
}

kill_family() { # PID: SIGKILL to all of it, and waits until the last has gone
    local family pid
    family=$(family_of "$1")
    # shellcheck disable=SC2086
    kill -9 $family 2>/dev/null
    for pid in $family; do gone_within "$pid" 100 || return 1; done
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; } # PORT

# ---- one engine ----

locked() { # ENGINE COMMAND...: one at a time for each engine of this checkout
    local home
    home=$(home_of "$1")
    mkdir -p "$home" || return 1
    (
        flock -w 300 9 || { fail "$1: another engines.sh has been busy with it for 300 s (lock: $home/lock)"; exit 1; }
        "${@:2}"
    ) 9>"$home/lock"
}

install_progress() { # ENGINE FOLDER PID: a line each ten seconds while PID lives
    local begun=$SECONDS
    while sleep 10 && kill -0 "$3" 2>/dev/null; do
        printf 'braid: %s: installing, %s s, %s\n' "$1" $((SECONDS - begun)) "$(du -sh "$2" 2>/dev/null | cut -f1)"
    done
}

install_one() { # ENGINE
    local engine=$1 final new log progress code begun=$SECONDS
    "${engine}_pin" >/dev/null || return 1
    final=$(program_of "$engine")
    [ -e "$final" ] && return 0
    mkdir -p "$INSTALL" || { fail "$engine: cannot make $INSTALL; set BRAID_ENGINES_INSTALL to a folder that can be written"; return 1; }
    (
        flock -w 900 8 || { fail "$engine: another install has been busy for 900 s (lock: $INSTALL/.$engine.lock)"; exit 1; }
        [ -e "$final" ] && exit 0
        new=$INSTALL/.new-$engine log=$INSTALL/$engine.install.log
        rm -rf "$new" && mkdir -p "$new" || exit 1
        say "$engine: installing into $final"
        install_progress "$engine" "$new" $BASHPID 8>&- &
        progress=$!
        "${engine}_install" "$new" >"$log" 2>&1 </dev/null
        code=$?
        kill $progress 2>/dev/null
        wait $progress 2>/dev/null
        if [ $code != 0 ] || ! mv -T "$new" "$final"; then
            tail -12 "$log" | sed 's/^/    /' >&2
            rm -rf "$new"
            fail "$engine could not be installed (whole log: $log). $("${engine}_hint") Then: scripts/engines.sh install $engine"
            exit 1
        fi
        say "$engine: installed in $((SECONDS - begun)) s"
    ) 8>"$INSTALL/.$engine.lock"
}

wait_healthy() { # ENGINE PID: prints its version when it answers
    local until=$((SECONDS + START_SECONDS)) version
    while :; do
        version=$("${1}_healthy") && [ -n "$version" ] && { printf '%s' "$version"; return 0; }
        identity "$2" >/dev/null 2>&1 || return 2
        [ $SECONDS -ge $until ] && return 3
        sleep 0.2
    done
}

up_one() { # ENGINE
    local engine=$1 home port pid version code begun=$SECONDS how="running"
    home=$(home_of "$engine") port=$(port_of "$engine")
    if ! pid=$(pid_of "$engine"); then
        how="started"
        if listening "$port"; then
            fail "$engine: port $port is taken by a program that this script did not start here; choose another with BRAID_ENGINES_${engine^^}_PORT"
            return 1
        fi
        "${engine}_start" || { fail "$engine: could not be started (log: $home/log)"; return 1; }
        pid=$(pid_of "$engine")
    fi
    version=$(wait_healthy "$engine" "${pid:-0}")
    code=$?
    if [ $code = 0 ] && [ $how = started ]; then
        "${engine}_prepare" || { fail "$engine: runs, but could not be prepared (log: $home/log)"; return 1; }
    fi
    case $code in
    0) say "$engine: $how on 127.0.0.1:$port (pid $pid, $version$([ $how = started ] && echo ", $((SECONDS - begun)) s"))"; return 0 ;;
    2) [ -f "$home/log" ] && tail -15 "$home/log" | sed 's/^/    /' >&2
       fail "$engine: ended while starting (log: $home/log)" ;;
    *) fail "$engine: runs (pid $pid) but gave no answer in $START_SECONDS s (log: $home/log); try: scripts/engines.sh restart $engine" ;;
    esac
}

down_one() { # ENGINE
    local engine=$1 pid signal seconds
    if ! pid=$(pid_of "$engine"); then
        rm -f "$(home_of "$engine")/pid"
        say "$engine: not running"
        return 0
    fi
    read -r signal seconds <<<"$("${engine}_stop")"
    kill "-$signal" "$pid" 2>/dev/null
    # shellcheck disable=SC2046
    kill -CONT $(family_of "$pid") 2>/dev/null # one that is paused would not hear it
    if ! gone_within "$pid" $((seconds * 10)); then
        say "$engine: did not stop in $seconds s, killing it"
        kill_family "$pid" || { fail "$engine: pid $pid outlives SIGKILL"; return 1; }
    fi
    rm -f "$(home_of "$engine")/pid"
    say "$engine: stopped"
}

kill_one() { # ENGINE
    local pid
    pid=$(pid_of "$1") || { fail "$1: not running"; return 1; }
    kill_family "$pid" || { fail "$1: pid $pid outlives SIGKILL"; return 1; }
    rm -f "$(home_of "$1")/pid"
    say "$1: killed"
}

signal_family() { # ENGINE SIGNAL WORD
    local pid family
    pid=$(pid_of "$1") || { fail "$1: not running"; return 1; }
    family=$(family_of "$pid")
    # shellcheck disable=SC2086
    kill "-$2" $family 2>/dev/null
    say "$1: $3"
}
pause_one() { signal_family "$1" STOP paused; }
resume_one() { signal_family "$1" CONT resumed; }

restart_one() { down_one "$1" && up_one "$1"; }

wipe_one() {
    down_one "$1" || return 1
    find "$(home_of "$1")" -mindepth 1 -maxdepth 1 ! -name lock -exec rm -rf {} +
    say "$1: data removed"
}

status_one() { # ENGINE FORM
    local engine=$1 form=$2 state=down pid="" version="" rss=0 code=1 address
    address=127.0.0.1:$(port_of "$engine")
    if pid=$(pid_of "$engine"); then
        rss=$(rss_kb_of "$pid")
        if version=$("${engine}_healthy") && [ -n "$version" ]; then state=up code=0; else state=silent; fi
    elif [ ! -e "$(program_of "$engine")" ]; then
        state=absent
    fi
    case $form in
    json) printf '{"engine":"%s","state":"%s","address":"%s","pid":%s,"version":"%s","rss_kb":%s,"folder":"%s"}\n' \
        "$engine" $state "$address" "${pid:-null}" "$version" "$rss" "$(home_of "$engine")" ;;
    env) if [ $code = 0 ]; then printf 'BRAID_TEST_%s=%s\n' "${engine^^}" "$address" && "${engine}_env"; fi ;;
    *) case $state in
       up) printf '%-10s up      %-16s pid %-7s %-34s %5s MB\n' "$engine" "$address" "$pid" "$version" $((rss / 1024)) ;;
       silent) printf '%-10s silent  %-16s pid %-7s runs but does not answer (log: %s)\n' "$engine" "$address" "$pid" "$(home_of "$engine")/log" ;;
       absent) printf '%-10s absent  %-16s not installed; scripts/engines.sh install %s\n' "$engine" "$address" "$engine" ;;
       *) printf '%-10s down    %-16s\n' "$engine" "$address" ;;
       esac ;;
    esac
    return $code
}

# ---- several engines ----

JOBS=()

interrupted() { # what is half done is under temporary names, or was starting
    local job
    trap - INT TERM
    disown -a && for job in "${JOBS[@]}"; do identity "$job" >/dev/null 2>&1 && kill_family "$job"; done
    echo >&2
    fail "interrupted; the same command goes on where it can"
    exit 130
}

each() { # COMMAND ENGINE...: for all at the same time; 0 when all went well
    local command=$1 engine job bad=0
    shift
    JOBS=()
    trap interrupted INT TERM
    for engine in "$@"; do $command "$engine" & JOBS+=($!); done
    for job in "${JOBS[@]}"; do wait "$job" || bad=1; done
    trap - INT TERM
    return $bad
}

install_all() { # ENGINE...: what is missing; the packages first, since only one may speak to apt
    local engine missing=()
    for engine in "$@"; do [ -e "$(program_of "$engine")" ] || missing+=("$engine"); done
    [ ${#missing[@]} = 0 ] && return 0
    "$HERE/deps.sh" engines "${missing[@]}" && each install_one "${missing[@]}"
}

up_locked() { locked "$1" up_one "$1"; }
down_locked() { locked "$1" down_one "$1"; }
pause_locked() { locked "$1" pause_one "$1"; }
resume_locked() { locked "$1" resume_one "$1"; }
kill_locked() { locked "$1" kill_one "$1"; }
restart_locked() { locked "$1" restart_one "$1"; }
wipe_locked() { locked "$1" wipe_one "$1"; }

show_status() { # FORM ENGINE...: asked at the same time, shown in order
    local form=$1 folder engine bad=0 jobs=()
    shift
    folder=$(mktemp -d) || return 1
    for engine in "$@"; do status_one "$engine" "$form" >"$folder/$engine" & jobs+=($!); done
    for engine in "${jobs[@]}"; do wait "$engine" || bad=1; done
    if [ "$form" = json ]; then
        printf '['
        for engine in "$@"; do [ "$engine" = "$1" ] || printf ','; printf '\n '; tr -d '\n' <"$folder/$engine"; done
        printf '\n]\n'
    else
        for engine in "$@"; do cat "$folder/$engine"; done
    fi
    rm -rf "$folder"
    [ "$form" = env ] || return $bad
}

main() {
    local word=${1:-help} form=text engines=() engine
    [ $# -gt 0 ] && shift
    for engine in "$@"; do
        case " ${ALL[*]} " in
        *" $engine "*) engines+=("$engine") ;;
        *) if [ "$word" = status ] && [ "$engine" = --json ]; then form=json; else
            fail "unknown engine '$engine'; known: ${ALL[*]}"
            exit 2
        fi ;;
        esac
    done
    case $word in
    restart | kill | pause | resume | wipe) [ ${#engines[@]} -gt 0 ] || { fail "usage: scripts/engines.sh $word ENGINE..."; exit 2; } ;;
    install | up | down | status | env) [ ${#engines[@]} -gt 0 ] || engines=("${ALL[@]}") ;;
    help | -h | --help) usage; exit 0 ;;
    *) fail "unknown word '$word'"; usage >&2; exit 2 ;;
    esac
    for engine in "${engines[@]}"; do
        # shellcheck source=/dev/null
        . "$ROOT/scripts/engines/$engine.sh" || exit 1
    done
    case $word in
    install) install_all "${engines[@]}" ;;
    up) install_all "${engines[@]}" && each up_locked "${engines[@]}" ;;
    down | kill | pause | resume | restart | wipe) each "${word}_locked" "${engines[@]}" ;;
    status) show_status $form "${engines[@]}" ;;
    env) show_status env "${engines[@]}" ;;
    esac
}

main "$@"
