// Ci notify BUILD REPO | pay SERVICE LINE_ITEM AMOUNT
import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;

public class Ci {
    public static void main(String[] arguments) throws SQLException {
        var environment = System.getenv();
        var url = "jdbc:postgresql://%s:%s/%s?user=%s".formatted(environment.get("PGHOST"),
            environment.get("PGPORT"), environment.get("PGDATABASE"), environment.get("PGUSER"));
        try (var db = DriverManager.getConnection(url)) {
            System.out.println(arguments[0].equals("notify")
                ? notify(db, Long.parseLong(arguments[1]), arguments[2])
                : pay(db, Long.parseLong(arguments[1]), arguments[2], new BigDecimal(arguments[3])));
        }
    }

    static String notify(Connection db, long build, String repo) throws SQLException {
        try (var claim = db.prepareStatement("SELECT claim_once('ci_failure', ?, ?)")) {
            claim.setLong(1, build);
            claim.setString(2, repo);
            return first(claim).getBoolean(1) ? "sent: build " + build + " of " + repo + " failed" : "not sent";
        }
    }

    static BigDecimal pay(Connection db, long service, String lineItem, BigDecimal amount) throws SQLException {
        db.setAutoCommit(false);
        try (var lock = db.prepareStatement("SELECT id FROM with_row_lock(NULL::payments, "
                 + "jsonb_build_object('service_id', ?::bigint, 'line_item_id', ?::text))");
             var update = db.prepareStatement(
                 "UPDATE payments SET amount = amount + ? WHERE id = ? RETURNING amount")) {
            lock.setLong(1, service);
            lock.setString(2, lineItem);
            update.setBigDecimal(1, amount);
            update.setLong(2, first(lock).getLong(1));
            var paid = first(update).getBigDecimal(1);
            db.commit();
            return paid;
        }
    }

    static ResultSet first(PreparedStatement statement) throws SQLException {
        var rows = statement.executeQuery();
        rows.next();
        return rows;
    }
}
