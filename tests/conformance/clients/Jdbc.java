// JDBC, with its defaults; behind a pooler without prepared statements of its own.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.ToNumberPolicy;

public class Jdbc {
    record Statement(String sql, List<Object> with) {}

    public static void main(String[] arguments) throws Exception {
        var environment = System.getenv();
        var url = "jdbc:postgresql://%s:%s/%s?user=%s&assumeMinServerVersion=9.0&ApplicationName=%s".formatted(
            environment.get("PGHOST"), environment.get("PGPORT"), environment.get("PGDATABASE"),
            environment.get("PGUSER"), environment.get("PGAPPNAME").replace(" ", "%20"));
        if (environment.containsKey("POOLED")) {
            url += "&prepareThreshold=0";
        }
        var json = new GsonBuilder().serializeNulls()
            .setObjectToNumberStrategy(ToNumberPolicy.LONG_OR_DOUBLE).create();
        try (var db = DriverManager.getConnection(url);
             var lines = new BufferedReader(new InputStreamReader(System.in))) {
            for (String line; (line = lines.readLine()) != null; ) {
                System.out.println(json.toJson(run(db, json.fromJson(line, Statement.class))));
                System.out.flush();
            }
        }
    }

    static Map<String, Object> run(Connection db, Statement asked) {
        try (var statement = db.prepareStatement(asked.sql().replaceAll("\\$\\d+", "?"))) {
            for (int at = 0; at < asked.with().size(); at++) {
                statement.setObject(at + 1, asked.with().get(at));
            }
            return Map.of("rows", statement.execute() ? rows(statement.getResultSet()) : List.of());
        } catch (SQLException error) {
            return Map.of("raises", error.getSQLState());
        }
    }

    static List<List<Object>> rows(ResultSet found) throws SQLException {
        var rows = new ArrayList<List<Object>>();
        while (found.next()) {
            var row = new ArrayList<Object>();
            for (int column = 1; column <= found.getMetaData().getColumnCount(); column++) {
                row.add(found.getObject(column));
            }
            rows.add(row);
        }
        return rows;
    }
}
