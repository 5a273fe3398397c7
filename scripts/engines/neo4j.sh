# Neo4j 5.26 Community inside a small Java program of ours (neo4j/Neo4jServer.java): only Bolt listens, no web server, no shell.
# User neo4j, password in build/engines/neo4j/password (mode 600).

NEO4J_JAVA=(-Xms256m -Xmx512m -XX:+ExitOnOutOfMemoryError --add-opens=java.base/java.nio=ALL-UNNAMED --add-opens=java.base/java.lang=ALL-UNNAMED
    --add-opens=java.base/sun.nio.ch=ALL-UNNAMED)

neo4j_version() { sed -n 's/.*<neo4j.version>\(.*\)<\/neo4j.version>.*/\1/p' "$PARTS/neo4j/pom.xml"; }
neo4j_pin() { printf '%s-%s' "$(neo4j_version)" "$(sum_of "$PARTS/neo4j/pom.xml" "$PARTS/neo4j/Neo4jServer.java")"; }
neo4j_hint() { printf 'It needs a JDK 17 or later (javac), Maven, and access to a Maven repository.'; }
neo4j_stop() { printf 'TERM 30'; }
neo4j_prepare() { :; }
neo4j_env() { printf 'BRAID_TEST_NEO4J_USER=neo4j\nBRAID_TEST_NEO4J_PASSWORD_FILE=%q\n' "$(home_of neo4j)/password"; }

neo4j_install() { # FOLDER
    local java
    java=$(javac -version 2>&1 | sed 's/javac \([0-9]*\).*/\1/')
    [ "${java:-0}" -ge 17 ] || { echo "javac is ${java:-missing}, Neo4j 5 needs 17 or later"; return 1; }
    mkdir -p "$1/jars" "$1/classes" || return 1
    mvn -B -f "$PARTS/neo4j/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$1/jars" \
        -Dorg.slf4j.simpleLogger.log.org.apache.maven.cli.transfer.Slf4jMavenTransferListener=warn || return 1
    javac -d "$1/classes" -cp "$1/jars/*" "$PARTS/neo4j/Neo4jServer.java" && jar cf "$1/server.jar" -C "$1/classes" . || return 1
    (cd "$1" && printf '%s:' server.jar jars/*.jar >classpath) || return 1
    neo4j_archive "$1" || echo "no class archive: Neo4j will start more slowly"
}

# Half of a start is the loading of classes. A trial run notes them in an archive that Java maps at each start (class data sharing).
# Its paths are relative, so that it holds after the folder is renamed; a Java that it does not fit ignores it.
neo4j_archive() { # FOLDER
    local pid i
    printf 'trial-run' >"$1/trial_password" && mkdir -p "$1/trial" || return 1
    (cd "$1" && exec java "${NEO4J_JAVA[@]}" -XX:ArchiveClassesAtExit=server.jsa -cp "$(cat classpath)" Neo4jServer trial 0 trial_password >trial.out 2>trial.err) &
    pid=$!
    for ((i = 0; i < 900; i++)); do
        grep -q '^listening' "$1/trial.out" 2>/dev/null && break
        identity $pid >/dev/null || break
        sleep 0.1
    done
    kill $pid && wait $pid
    rm -rf "$1"/trial*
    [ -s "$1/server.jsa" ]
}

neo4j_start() {
    local home program
    home=$(home_of neo4j) program=$(program_of neo4j)
    mkdir -p "$home/data" && make_password "$home/password" || return 1
    (cd "$program" && launch neo4j java "${NEO4J_JAVA[@]}" -XX:SharedArchiveFile=server.jsa -Xshare:auto -cp "$(cat classpath)" \
        Neo4jServer "$home/data" "$(port_of neo4j)" "$home/password")
}

neo4j_healthy() { # not before its password is set: three wrong ones lock the user out for a while
    local port
    port=$(port_of neo4j)
    [ -e "$(home_of neo4j)/data/prepared" ] && listening "$port" || return 1
    python3 "$PARTS/neo4j/bolt_ping.py" 127.0.0.1 "$port" "$(home_of neo4j)/password" 2>/dev/null | tr '/' ' '
}
