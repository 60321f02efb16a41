// Claims by parts of Java's types. What a program of parts does is said in parts.py.
import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Timestamp;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.UUID;
import com.google.gson.Gson;

public class PartsJdbc {
    record Part(String kind, Object value) {}

    public static void main(String[] arguments) throws Exception {
        var environment = System.getenv();
        var url = "jdbc:postgresql://%s:%s/%s?user=%s&assumeMinServerVersion=9.0".formatted(
            environment.get("PGHOST"), environment.get("PGPORT"), environment.get("PGDATABASE"), environment.get("PGUSER"));
        var instant = Instant.parse("2026-12-01T12:34:56.789Z");
        try (var db = DriverManager.getConnection(url)) {
            var parts = List.of(
                new Part("integer", 4711),
                new Part("bigint", 9007199254740993L),
                new Part("text", "é, org/repo"),
                new Part("boolean", true),
                new Part("date", LocalDate.of(2026, 12, 1)),
                new Part("date", java.sql.Date.valueOf("2026-12-01")),
                new Part("timestamptz", instant.atOffset(ZoneOffset.UTC)),
                new Part("timestamptz", Timestamp.from(instant)),
                new Part("timestamp", LocalDateTime.ofInstant(instant, ZoneOffset.UTC)),
                new Part("numeric", new BigDecimal("12.5")),
                new Part("uuid", UUID.fromString("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11")),
                new Part("bytea", new byte[] {(byte) 0xff, (byte) 0xfe}),
                new Part("float8", 0.1 + 0.2),
                new Part("array", db.createArrayOf("text", new String[] {"a", "b"})));
            for (var ns : Arrays.copyOfRange(arguments, 1, arguments.length)) {
                for (var part : parts) {
                    play(db, arguments[0], ns, part);
                }
            }
        }
    }

    static void play(Connection db, String mode, String ns, Part part) throws SQLException {
        var as = part.value().getClass().getSimpleName();
        if (part.value() instanceof java.sql.Date) {
            as = "java.sql.Date";
        }
        var answer = new LinkedHashMap<String, Object>();
        answer.put("ns", ns);
        answer.put("kind", part.kind());
        answer.put("as", as);
        if (mode.equals("default")) {
            try {
                claim(db, ns + " " + part.kind() + " " + as, part.value(), "");
            } catch (SQLException error) {
                answer.put("refused", error.getSQLState());
            }
        } else if (part.kind().equals("array")) {
            return;
        } else {
            answer.put("won", claim(db, ns, part.value(), "::" + part.kind()));
        }
        System.out.println(new Gson().toJson(answer));
    }

    static boolean claim(Connection db, String ns, Object value, String cast) throws SQLException {
        try (var statement = db.prepareStatement("SELECT claim_once(?, ?" + cast + ")")) {
            statement.setString(1, ns);
            statement.setObject(2, value);
            try (var found = statement.executeQuery()) {
                found.next();
                return found.getBoolean(1);
            }
        }
    }
}
