// JDBC: statements that the driver prepares on the server at once, while the table changes, beside core's own SELECT.

import com.google.gson.Gson;
import java.io.FileReader;
import java.io.IOException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.postgresql.util.PSQLException;

public class PlansJdbc {
    private record Cases(List<String> table, Map<String, List<String>> changes, Map<String, List<String>> forms) {}

    private static Connection connect(String settings) throws SQLException {
        return DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT") + "/"
            + System.getenv("PGDATABASE") + "?user=" + System.getenv("PGUSER") + "&prepareThreshold=1" + settings);
    }

    /** The rows, or what was raised. */
    private static Object outcome(PreparedStatement kept) {
        try (ResultSet found = kept.executeQuery()) {
            List<List<Object>> rows = new ArrayList<>();
            int columns = found.getMetaData().getColumnCount();
            while (found.next()) {
                List<Object> row = new ArrayList<>();
                for (int column = 1; column <= columns; column++) {
                    row.add(found.getMetaData().getColumnName(column) + " " + found.getObject(column));
                }
                rows.add(row);
            }
            return rows;
        } catch (PSQLException error) {
            return error.getSQLState() + " " + error.getServerErrorMessage().getMessage();
        } catch (SQLException error) {
            return error.getSQLState();
        }
    }

    private static void check(String name, Object wanted, Object got) {
        System.out.println(Objects.equals(wanted, got)
            ? "ok " + name
            : "FAILED " + name + ": wanted " + wanted + ", got " + got);
    }

    private static void run(Connection db, List<String> statements) throws SQLException {
        try (Statement statement = db.createStatement()) {
            statement.execute("BEGIN");
            for (String sql : statements) {
                statement.execute(sql);
            }
            statement.execute("COMMIT");
        }
    }

    public static void main(String[] arguments) throws SQLException, IOException {
        Cases cases = new Gson().fromJson(new FileReader(arguments[0]), Cases.class);
        Connection owner = connect("");
        for (String change : cases.changes().keySet()) {
            for (String form : cases.forms().keySet()) {
                if (!form.equals("defined") || !change.startsWith("swap of tables")) {
                    autocommit(owner, cases, change, form);
                    olderTransaction(owner, cases, change, form);
                }
            }
        }
    }

    private static void autocommit(Connection owner, Cases cases, String change, String form) throws SQLException {
        run(owner, cases.table());
        List<String> pair = cases.forms().get(form);
        try (Connection one = connect(""); Connection other = connect("");
                PreparedStatement ours = one.prepareStatement(pair.get(0));
                PreparedStatement cores = other.prepareStatement(pair.get(1))) {
            for (int call = 0; call < 2; call++) {
                check(change + ": " + form + " before", outcome(cores), outcome(ours));
            }
            run(owner, cases.changes().get(change));
            for (int call = 1; call <= 3; call++) {
                check(change + ": " + form + ", call " + call, outcome(cores), outcome(ours));
            }
        }
    }

    /** A transaction that began before the change, with autosave: the driver prepares again what raises 0A000. */
    private static void olderTransaction(Connection owner, Cases cases, String change, String form)
            throws SQLException {
        run(owner, cases.table());
        List<String> pair = cases.forms().get(form);
        try (Connection one = connect("&autosave=conservative"); Connection other = connect("&autosave=conservative");
                PreparedStatement ours = one.prepareStatement(pair.get(0));
                PreparedStatement cores = other.prepareStatement(pair.get(1))) {
            outcome(cores);
            outcome(ours);
            for (Connection db : List.of(one, other)) {
                db.setAutoCommit(false);
                db.createStatement().execute("SELECT 1");
            }
            run(owner, cases.changes().get(change));
            Object wanted = outcome(cores);
            other.rollback();
            check(change + ": " + form + " in an older transaction", wanted, outcome(ours));
            one.rollback();
        }
    }
}
