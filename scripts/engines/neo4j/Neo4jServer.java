import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.neo4j.configuration.GraphDatabaseInternalSettings;
import org.neo4j.configuration.GraphDatabaseSettings;
import org.neo4j.configuration.connectors.BoltConnector;
import org.neo4j.configuration.helpers.SocketAddress;
import org.neo4j.dbms.api.DatabaseManagementService;
import org.neo4j.dbms.api.DatabaseManagementServiceBuilder;
import org.neo4j.io.ByteUnit;

/**
 * Neo4j with nothing but Bolt on 127.0.0.1: java Neo4jServer FOLDER PORT PASSWORD-FILE. It ends cleanly on SIGTERM.
 * The user is neo4j. Its password is set from the inside on the first start, in the moment after the server begins to listen;
 * FOLDER/prepared says that this is done.
 */
public final class Neo4jServer {
    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args[0]);
        Path prepared = folder.resolve("prepared");
        String password = Files.readString(Path.of(args[2])).strip();
        DatabaseManagementService service = open(folder, Integer.parseInt(args[1]));
        Runtime.getRuntime().addShutdownHook(new Thread(service::shutdown));
        if (!Files.exists(prepared)) {
            service.database("system").executeTransactionally("ALTER USER neo4j SET PASSWORD $password CHANGE NOT REQUIRED",
                    Map.of("password", password));
            Files.createFile(prepared);
        }
        System.out.println("listening on 127.0.0.1:" + args[1]);
        Thread.currentThread().join();
    }

    private static DatabaseManagementService open(Path folder, int port) {
        SocketAddress address = new SocketAddress("127.0.0.1", port);
        return new DatabaseManagementServiceBuilder(folder)
                .setConfig(BoltConnector.enabled, true)
                .setConfig(BoltConnector.listen_address, address)
                .setConfig(BoltConnector.advertised_address, address)
                .setConfig(GraphDatabaseInternalSettings.netty_server_shutdown_quiet_period, 0) // else a stop takes ten seconds
                .setConfig(GraphDatabaseSettings.auth_enabled, true)
                .setConfig(GraphDatabaseSettings.pagecache_memory, ByteUnit.mebiBytes(256))
                .setConfig(GraphDatabaseSettings.logical_log_rotation_threshold, ByteUnit.mebiBytes(64))
                .setConfig(GraphDatabaseSettings.keep_logical_logs, "256M size")
                .build();
    }
}
