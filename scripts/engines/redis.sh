# Redis from the distribution's package: nothing is downloaded, the install only links the program that is there.
# Data goes to an append-only file synced each second, as a cache with a memory would run; no password.

redis_pin() { printf 'system'; }
redis_hint() { printf 'Install the package redis-server (scripts/deps.sh engines redis).'; }
redis_stop() { printf 'TERM 10'; }
redis_env() { :; }
redis_prepare() { :; }

redis_install() { # FOLDER
    mkdir -p "$1/bin" && ln -s "$(command -v redis-server)" "$1/bin/redis-server" && ln -s "$(command -v redis-cli)" "$1/bin/redis-cli" &&
        "$1/bin/redis-server" --version
}

redis_start() {
    local home
    home=$(home_of redis)
    mkdir -p "$home/data" || return 1
    launch redis "$(program_of redis)/bin/redis-server" --port "$(port_of redis)" --bind 127.0.0.1 --protected-mode yes --daemonize no \
        --dir "$home/data" --save "" --appendonly yes --appendfsync everysec --maxmemory 512mb --maxmemory-policy allkeys-lru
}

redis_healthy() {
    timeout 3 "$(program_of redis)/bin/redis-cli" -h 127.0.0.1 -p "$(port_of redis)" INFO server 2>/dev/null | tr -d '\r' | sed -n 's/^redis_version:/Redis /p'
}
