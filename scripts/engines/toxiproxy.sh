# Toxiproxy: proxies that delay, cut, slice and drop what passes, told by HTTP what to do (test/engines.py speaks to it).
# Built from its Go module. A Go toolchain that is there is used if it can build it; else one is borrowed from a Python wheel.

TOXIPROXY_VERSION=2.12.0

toxiproxy_pin() { printf '%s' $TOXIPROXY_VERSION; }
toxiproxy_hint() { printf 'It needs Go 1.21+ or python3 with venv, and access to the Go module proxy.'; }
toxiproxy_stop() { printf 'TERM 5'; }
toxiproxy_env() { :; }
toxiproxy_prepare() { :; }

toxiproxy_build() { # FOLDER GO
    local flags="-X github.com/Shopify/toxiproxy/v2.Version=$TOXIPROXY_VERSION"
    GOBIN=$1/bin GOFLAGS=-mod=mod CGO_ENABLED=0 "$2" install -trimpath -ldflags "$flags" "github.com/Shopify/toxiproxy/v2/cmd/server@v$TOXIPROXY_VERSION"
}

toxiproxy_install() { # FOLDER
    local minor go
    minor=$(go version 2>/dev/null | sed -n 's/.*go1\.\([0-9]*\).*/\1/p')
    if [ "${minor:-0}" -ge 21 ] && toxiproxy_build "$1" go; then # from 1.21 on Go fetches a newer one by itself where the module asks for it
        :
    else
        pip_unpack "$1/borrowed" "$PARTS/toxiproxy.txt" || return 1
        go=$(find "$1/borrowed" -path '*/bin/go' -type f | head -1)
        [ -n "$go" ] && chmod -R u+x "$(dirname "$(dirname "$go")")" && toxiproxy_build "$1" "$go" || return 1
    fi
    rm -rf "$1/borrowed"
    mv "$1/bin/server" "$1/bin/toxiproxy-server" && "$1/bin/toxiproxy-server" -version
}

toxiproxy_start() {
    LOG_LEVEL=warn launch toxiproxy "$(program_of toxiproxy)/bin/toxiproxy-server" -host 127.0.0.1 -port "$(port_of toxiproxy)"
}

toxiproxy_healthy() {
    curl -sS -m 3 "http://127.0.0.1:$(port_of toxiproxy)/version" 2>/dev/null | sed -n 's/.*"version" *: *"\([^"]*\)".*/Toxiproxy \1/p'
}
