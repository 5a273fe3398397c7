#!/bin/sh
# Installs what Braid needs, asking nothing. Usage: scripts/deps.sh [run|test|bench]
#   run    what building and serving needs (default)
#   test   besides: cmocka, clang (fuzzers), strace, Chromium and Node.js (the page's tests)
#   bench  besides: perf and wrk
# On Debian and Ubuntu by apt; elsewhere it says plainly what to install.
set -eu
what=${1:-run}
packages="gcc make libc6-dev libsqlite3-dev libmicrohttpd-dev libjansson-dev libyaml-dev libxxhash-dev libroaring-dev libssl-dev"
case $what in
run) ;;
test) packages="$packages python3 pkg-config libcmocka-dev clang libclang-rt-dev strace curl chromium nodejs npm" ;;
bench) packages="$packages wrk" ;;
*) echo "usage: scripts/deps.sh [run|test|bench]" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null 2>&1; then
    have=1
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
