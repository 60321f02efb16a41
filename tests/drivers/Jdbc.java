// JDBC: String is sent as varchar, Integer and Long as int4 and int8. For jsonb a String needs ::jsonb
// or Types.OTHER (no type), an interval is a String or a PGInterval.

import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Types;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.postgresql.util.PGInterval;

public class Jdbc {
    private static Connection db;

    private record Untyped(String text) {}

    /** The first column of the first row, or the SQLSTATE that was raised. */
    private static Object first(String query, Object... parameters) {
        try (PreparedStatement statement = db.prepareStatement(query)) {
            for (int i = 0; i < parameters.length; i++) {
                if (parameters[i] instanceof Untyped untyped) {
                    statement.setObject(i + 1, untyped.text(), Types.OTHER);
                } else {
                    statement.setObject(i + 1, parameters[i]);
                }
            }
            ResultSet rows = statement.executeQuery();
            return rows.next() ? rows.getObject(1) : null;
        } catch (SQLException error) {
            return error.getSQLState();
        }
    }

    private static void check(String name, Object wanted, Object got) {
        System.out.println(Objects.equals(wanted, got)
            ? "ok " + name
            : "FAILED " + name + ": wanted " + wanted + ", got " + got);
    }

    public static void main(String[] arguments) throws SQLException {
        db = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT") + "/"
            + System.getenv("PGDATABASE") + "?user=" + System.getenv("PGUSER"));
        twoParts();
        onePart();
        otherForms();
        payments();
        rows();
        books();
        db.close();
    }

    private static void twoParts() {
        Map<String, List<Object>> cases = new LinkedHashMap<>();
        cases.put("text, text", List.of("build", "org/repo"));
        cases.put("number, text", List.of(4711, "org/repo"));
        cases.put("text, number", List.of("org/repo", 4711L));
        cases.put("number, number", List.of(4711, 9_000_000_000L));
        cases.forEach((name, list) -> {
            Object[] parts = list.toArray();
            check("claim_once(" + name + ") first", true, first("SELECT claim_once('two', ?, ?)", parts));
            check("claim_once(" + name + ") again", false, first("SELECT claim_once('two', ?, ?)", parts));
            check("is_claimed(" + name + ")", true, first("SELECT is_claimed('two', ?, ?)", parts));
            check("unclaim(" + name + ")", true, first("SELECT unclaim('two', ?, ?)", parts));
            check("claim_once_per(" + name + ")", true, first("SELECT claim_once_per('1 hour', 'per', ?, ?)", parts));
            Object asText = first("SELECT once_key(?::text, ?::text)", parts);
            check("once_key(" + name + ")", asText, first("SELECT once_key(?, ?)", parts));
        });
    }

    private static void onePart() {
        Map<String, Object> cases = new LinkedHashMap<>();
        cases.put("text", "build");
        cases.put("number", 4711);
        cases.forEach((name, part) -> {
            check("claim_once(one " + name + ") first", true, first("SELECT claim_once('one', ?)", part));
            check("claim_once(one " + name + ") again", false, first("SELECT claim_once('one', ?)", part));
            check("is_claimed(one " + name + ")", true, first("SELECT is_claimed('one', ?)", part));
            check("unclaim(one " + name + ")", true, first("SELECT unclaim('one', ?)", part));
            check("claim_once_per(one " + name + ")", true, first("SELECT claim_once_per('1 hour', 'per', ?)", part));
            check("once_key(one " + name + ")", part.toString(), first("SELECT once_key(?)", part));
        });
    }

    private static void otherForms() throws SQLException {
        check("namespace as a parameter", true, first("SELECT claim_once(?, ?, ?)", "all", 4711, "org/repo"));
        check("the same key in SQL", false, first("SELECT claim_once('all', 4711, 'org/repo')"));
        check("period as PGInterval", true, first("SELECT claim_once_per(?, ?, ?)", new PGInterval("1 hour"), "period", "PGInterval"));
        check("period as ::interval", true, first("SELECT claim_once_per(?::interval, ?, ?)", "1 hour", "period", "text"));
        check("period as a String", true, first("SELECT claim_once_per(?, ?, ?)", "1 hour", "period", "String"));
        check("a number without a unit", "22023", first("SELECT claim_once_per(?, ?, ?)", "3600", "period", "number"));

        check("three parts, all with a type", true, first("SELECT claim_once('three', ?, ?, ?)", 4711, "org/repo", "linux"));
        Object[] mixed = {4711, new Untyped("org/repo"), new Untyped("linux")};
        check("three mixed parts need ::text", "42P18", first("SELECT claim_once('three', ?, ?, ?)", mixed));
        check("three mixed parts with ::text", false, first("SELECT claim_once('three', ?, ?::text, ?::text)", mixed));

        // A customer and an order where a key and a lease belong: of order 31 nothing is answered that belongs to order 30.
        for (int order : new int[] {30, 31}) {
            String charge = "SELECT outcome FROM begin_once('charge', ?, ?)";
            check("begin_once(customer, order " + order + ")", "42883", first(charge, 7, order));
            check("begin_once(customer, order " + order + " as text)", "22023", first(charge, "7", "" + order));
            String keyed = "SELECT outcome FROM begin_once('charge', once_key(?, ?))";
            check("begin_once(once_key(customer, order " + order + "))", "run", first(keyed, 7, order));
        }
    }

    private static void payments() throws SQLException {
        String created = "SELECT created FROM with_payment_lock(?, ?)";
        check("with_payment_lock(number, text) first", true, first(created, 7, "A"));
        check("with_payment_lock(number, text) again", false, first(created, 7L, "A"));
        check("with_payment_lock(text, text) for a bigint", false, first(created, "7", "A"));
        check("with_payment_lock(number, number)", true, first(created, 7, 1));
        String timed = "SELECT created FROM with_payment_lock(?, ?, ?)";
        check("with_payment_lock(timeout as PGInterval)", false, first(timed, 7, "A", new PGInterval("1 second")));
        check("with_payment_lock(timeout as ::interval)", false, first(
            "SELECT created FROM with_payment_lock(?, ?, ?::interval)", 7, "A", "1 second"));
        db.createStatement().execute("SET pg_once.payment_table = 'payments_of_named_services'");
        check("with_payment_lock(text, text)", true, first(created, "card", "A"));
    }

    private static void rows() throws SQLException {
        Untyped key = new Untyped("{\"service_id\": 8, \"line_item_id\": \"A\"}");
        Untyped defaults = new Untyped("{\"amount\": \"12.30\", \"currency\": \"EUR\"}");
        String row = "SELECT amount FROM with_row_lock(NULL::payments, ?, ?)";
        check("with_row_lock(Types.OTHER), amount", new BigDecimal("12.30"), first(row, key, defaults));
        check("with_row_lock(::jsonb), amount", new BigDecimal("12.30"), first(
            "SELECT amount FROM with_row_lock(NULL::payments, ?::jsonb, ?::jsonb)", key.text(), defaults.text()));
        check("with_row_lock(key)", 8L, first("SELECT service_id FROM with_row_lock(NULL::payments, ?)", key));
        check("with_row_lock(timeout)", 8L, first(
            "SELECT service_id FROM with_row_lock(NULL::payments, ?, timeout => ?)", key, new PGInterval("1 second")));
        check("with_row_lock(String) is varchar", "42883", first(row, key.text(), defaults.text()));
    }

    private static void books() throws SQLException {
        Untyped dune = new Untyped("{\"title\": \"Dune\", \"author\": \"Frank Herbert\"}");
        String created = "SELECT created FROM find_or_create(NULL::books, ?, ?)";
        check("find_or_create(Types.OTHER) first", true, first(created, dune, new Untyped("{\"price\": \"9.90\"}")));
        check("find_or_create(::jsonb) again", false, first(
            "SELECT created FROM find_or_create(NULL::books, ?::jsonb)", dune.text()));
        check("find_or_create(...).price", new BigDecimal("9.90"), first(
            "SELECT (entity).price FROM find_or_create(NULL::books, ?)", dune));
        check("find_or_create(lock, timeout)", false, first(
            "SELECT created FROM find_or_create(NULL::books, ?, lock => ?, timeout => ?)", dune, true, new PGInterval("1 second")));
    }
}
