#!/bin/sh
# Installs what Braid needs, asking nothing. Usage: scripts/deps.sh [run|test|bench|engines [ENGINE...]]
#   run      what building and serving needs (default)
#   test     besides: cmocka, clang (fuzzers), strace, Chromium and Node.js (the page's tests), the client libraries of the remote stores
#   bench    besides: perf and wrk
#   engines  only what scripts/engines.sh needs to fetch and run the engines named (default: all of them)
# On Debian and Ubuntu by apt; elsewhere it says plainly what to install.
set -eu
what=${1:-run}
packages="gcc make libc6-dev libsqlite3-dev libmicrohttpd-dev libjansson-dev libyaml-dev libxxhash-dev libroaring-dev libssl-dev"
case $what in
run) ;;
test) packages="$packages python3 pkg-config libcmocka-dev clang libclang-rt-dev strace curl chromium nodejs npm
    libpq-dev libhiredis-dev libgrpc-dev libprotobuf-c-dev protobuf-c-compiler" ;;
bench) packages="$packages wrk" ;;
engines)
    shift
    packages="python3 util-linux curl"
    for engine in ${*:-milvus neo4j postgres redis toxiproxy}; do
        case $engine in
        milvus) packages="$packages python3-venv gcc libc6-dev" ;;
        neo4j) packages="$packages default-jdk-headless maven" ;;
        postgres) packages="$packages python3-venv" ;;
        redis) packages="$packages redis-server" ;;
        toxiproxy) packages="$packages python3-venv golang-go" ;;
        *) echo "braid: unknown engine '$engine'" >&2; exit 2 ;;
        esac
    done ;;
*) echo "usage: scripts/deps.sh [run|test|bench|engines [ENGINE...]]" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null 2>&1; then
    have=1
    if [ "$what" = engines ]; then
        words="python3 curl flock setpriv"
        for p in $packages; do
            case $p in
            gcc) words="$words ${CC:-cc}" ;;
            default-jdk-headless) words="$words java javac jar" ;;
            maven) words="$words mvn" ;;
            redis-server) words="$words redis-server redis-cli" ;;
            esac
        done
        for p in $words; do command -v "$p" >/dev/null 2>&1 || { have=0; echo "braid: this system has no apt; install the command $p, then run the command again" >&2; }; done
        [ $have = 1 ] && exit 0
        exit 1
    fi
    for header in sqlite3.h microhttpd.h jansson.h yaml.h xxhash.h roaring/roaring.h openssl/evp.h; do
        echo "#include <$header>" | "${CC:-cc}" -E -x c - >/dev/null 2>&1 || { have=0; echo "braid: missing header <$header>" >&2; }
    done
    [ $have = 1 ] && exit 0
    cat >&2 <<TEXT
braid: this system has no apt. Install a C17 compiler, make and the development files of:
  SQLite 3.37+, libmicrohttpd 0.9.75+, jansson 2.13+, libyaml 0.2+, xxHash 0.8+, CRoaring, OpenSSL 3
  (Fedora: dnf install gcc make sqlite-devel libmicrohttpd-devel jansson-develel libyaml-devel xxhash-devel roaring-devel openssl-devel)
then run the command again.
TEXT
    exit 1
fi

# A command that is there already (a Node.js from elsewhere, say) needs no package.
missing=
for p in $packages; do
    case $p in
    python3|pkg-config|curl|strace|wrk|chromium|npm|clang|gcc|make) command -v "$p" >/dev/null 2>&1 && continue ;;
    nodejs) command -v node >/dev/null 2>&1 && continue ;;
    util-linux) command -v flock >/dev/null 2>&1 && command -v setpriv >/dev/null 2>&1 && continue ;;
    python3-venv) python3 -c 'import venv, ensurepip' >/dev/null 2>&1 && continue ;;
    default-jdk-headless) command -v javac >/dev/null 2>&1 && command -v jar >/dev/null 2>&1 && continue ;;
    maven) command -v mvn >/dev/null 2>&1 && continue ;;
    golang-go) command -v go >/dev/null 2>&1 && continue ;;
    redis-server) command -v redis-server >/dev/null 2>&1 && command -v redis-cli >/dev/null 2>&1 && continue ;;
    libclang-rt-dev) ls /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a >/dev/null 2>&1 && continue ;;
    esac
    dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -q '^installed$' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ]; then as_root=; elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root="sudo -n"; else
    echo "braid: these packages are missing and only root can install them; run:" >&2
    echo "  sudo apt-get install$missing" >&2
    exit 1
fi
echo "braid: installing$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
$as_root apt-get update >"$log" 2>&1 || true
# The runtime of clang's sanitizers is a package of its own whose name holds clang's version.
case " $missing " in
*" libclang-rt-dev "*)
    rt=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\).*/libclang-rt-\1-dev/p' | head -1)
    missing=$(echo "$missing" | sed "s/ libclang-rt-dev/ ${rt:-libclang-rt-dev}/") ;;
esac
if ! $as_root apt-get install -y --no-install-recommends $missing >>"$log" 2>&1; then
    tail -15 "$log" >&2
    echo "braid: apt could not install:$missing (whole log: $log)" >&2
    exit 1
fi
rm -f "$log"
