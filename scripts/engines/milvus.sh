# Milvus 2.3 standalone, from a Python wheel that carries the built server with an etcd and a message queue inside.
# The wheel's own starter is not used: it would stand as a second process in front of the server, choose ports by itself and log without
# bound. Here the server is one process, its twelve ports follow each other from the one clients use, and its settings are few and ours.
# Milvus 2.3 has no setting for the address it listens on and takes all interfaces; scripts/engines/loopback.c holds it to 127.0.0.1.
# No user or password.

milvus_version() { sed -n 's/^milvus==//p' "$PARTS/milvus.txt"; }
milvus_pin() { printf '%s-%s' "$(milvus_version)" "$(sum_of "$PARTS/loopback.c")"; }
milvus_hint() { printf 'It needs python3 with venv and lzma, a C compiler, and access to the Python package index.'; }
milvus_stop() { printf 'TERM 5'; } # its orderly stop takes half a minute of retries among its own parts; what it acknowledged is in its queue
milvus_env() { printf 'BRAID_TEST_MILVUS_METRICS=127.0.0.1:%s\n' $(($(port_of milvus) + 2)); }
milvus_prepare() { :; }

milvus_install() { # FOLDER: bin/ with the server, its libraries and the loopback helper
    pip_unpack "$1" "$PARTS/milvus.txt" && mkdir "$1/bin" || return 1
    python3 - "$1/lib/milvus/data/bin" "$1/bin" <<'PY' || return 1
import concurrent.futures, lzma, os, shutil, sys
source, target = sys.argv[1:]
def unpack(name):
    with lzma.open(os.path.join(source, name)) as packed, open(os.path.join(target, name[:-5]), "wb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    list(pool.map(unpack, [n for n in os.listdir(source) if n.endswith(".lzma")]))
PY
    rm -rf "$1/lib" && chmod 755 "$1/bin/milvus" || return 1
    "${CC:-cc}" -std=c17 -O2 -Wall -Wextra -o "$1/bin/loopback" "$PARTS/loopback.c" || return 1
    [ -s "$1/bin/milvus" ]
}

milvus_settings() { # what differs from Milvus's defaults
    local home=$1 p=$2
    cat <<YAML
etcd:
  use: {embed: true}
  config: {path: $home/configs/etcd.yaml}
  data: {dir: $home/data/etcd}
  endpoints: 127.0.0.1:$((p + 3))
  rootPath: braid
  log: {level: error, path: stderr}
metastore: {type: etcd}
mq: {type: rocksmq}
rocksmq: {path: $home/data/rocksmq, retentionTimeInMinutes: 60, retentionSizeInMB: 1024}
localStorage: {path: $home/data/store}
minio: {rootPath: files}
proxy: {ip: 127.0.0.1, port: $p, internalPort: $((p + 1)), http: {enabled: true, debug_mode: false}, ginLogging: false}
rootCoord: {ip: 127.0.0.1, port: $((p + 5))}
queryCoord: {ip: 127.0.0.1, port: $((p + 6))}
queryNode: {ip: 127.0.0.1, port: $((p + 7))}
dataCoord: {ip: 127.0.0.1, port: $((p + 8)), address: 127.0.0.1}
dataNode: {ip: 127.0.0.1, port: $((p + 9))}
indexNode: {ip: 127.0.0.1, port: $((p + 10))}
indexCoord: {ip: 127.0.0.1, port: $((p + 11)), address: 127.0.0.1, bindIndexNodeMode: {enable: false}}
common:
  storageType: local
  gracefulStopTimeout: 10
  session: {ttl: 10}
  security: {authorizationEnabled: false, tlsMode: 0}
log:
  level: warn
  stdout: false
  file: {rootPath: $home/logs, maxSize: 32, maxAge: 3, maxBackups: 2}
YAML
}

milvus_etcd() { # the etcd inside it
    local home=$1 p=$2
    cat <<YAML
name: default
data-dir: $home/data/etcd
listen-client-urls: http://127.0.0.1:$((p + 3))
advertise-client-urls: http://127.0.0.1:$((p + 3))
listen-peer-urls: http://127.0.0.1:$((p + 4))
initial-advertise-peer-urls: http://127.0.0.1:$((p + 4))
initial-cluster: default=http://127.0.0.1:$((p + 4))
YAML
}

milvus_start() {
    local home port offset bin guard=()
    home=$(home_of milvus) port=$(port_of milvus) bin=$(program_of milvus)/bin
    for offset in 1 2 3 4 5 6 7 8 9 10 11; do
        listening $((port + offset)) || continue
        fail "milvus: needs the ports $port to $((port + 11)), and $((port + offset)) is taken; choose another with BRAID_ENGINES_MILVUS_PORT"
        return 1
    done
    mkdir -p "$home/configs" "$home/data" "$home/logs" "$home/run" || return 1
    milvus_settings "$home" "$port" | write_new "$home/configs/milvus.yaml" 644
    milvus_etcd "$home" "$port" | write_new "$home/configs/etcd.yaml" 644
    printf -- '--logtostderr=true\n--minloglevel=2\n' | write_new "$home/configs/glog.conf" 644
    if "$bin/loopback" true 2>>"$home/log"; then
        guard=("$bin/loopback")
    else
        say "milvus: cannot be held to 127.0.0.1 on this kernel; it listens on every interface, without a password"
    fi
    (cd "$home/run" && MILVUSCONF=$home/configs MILVUS_RUN_DIR=$home/run DEPLOY_MODE=STANDALONE METRICS_PORT=$((port + 2)) \
        LD_LIBRARY_PATH=$bin launch milvus "${guard[@]}" "$bin/milvus" run standalone)
}

# Every part says that it is well, and the proxy answers a request that goes through the coordinator.
milvus_healthy() {
    local port
    port=$(port_of milvus)
    [ "$(curl -sS -m 3 "http://127.0.0.1:$((port + 2))/healthz" 2>/dev/null)" = OK ] || return 1
    curl -sS -m 3 "http://127.0.0.1:$port/v1/vector/collections" 2>/dev/null | grep -q '"code":200' && printf 'Milvus %s' "$(milvus_version)"
}
