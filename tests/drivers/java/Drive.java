// SPDX-License-Identifier: ISC

import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.Driver;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;

/** pgjdbc. Arguments: parameters of the URL, as prepareThreshold=1. */
public class Drive {
    static final String RUN = System.getenv("RUN_ID");
    static String parameters;
    static final String SHOW = "SELECT concat_ws('|', current_setting('search_path'), "
        + "current_setting('statement_timeout'), current_setting('TimeZone'), current_setting('work_mem'))";

    static Connection connect(String... more) throws SQLException {
        return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT")
            + "/" + System.getenv("PGDATABASE") + "?user=" + System.getenv("PGUSER") + "&ApplicationName=drv&" + parameters
            + String.join("", more));
    }

    static PreparedStatement fill(PreparedStatement p, Object... args) throws SQLException {
        for (int i = 0; i < args.length; i++) {
            p.setObject(i + 1, args[i]);
        }
        return p;
    }

    static String ask(Connection c, String sql, Object... args) throws SQLException {
        try (PreparedStatement p = fill(c.prepareStatement(sql), args)) {
            if (!p.execute()) {
                return String.valueOf(p.getUpdateCount());
            }
            List<String> rows = new ArrayList<>();
            ResultSet r = p.getResultSet();
            while (r.next()) {
                List<String> row = new ArrayList<>();
                for (int i = 1; i <= r.getMetaData().getColumnCount(); i++) {
                    row.add(String.valueOf(r.getString(i)));
                }
                rows.add(String.join("|", row));
            }
            return String.join(" ", rows);
        }
    }

    static void run(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute(sql);
        }
    }

    static String code(Callable<?> what) throws Exception {
        try {
            what.call();
            return "no error";
        } catch (SQLException e) {
            return e.getSQLState();
        }
    }

    static String join(Object... seen) {
        return String.join(" ", Arrays.stream(seen).map(String::valueOf).toList());
    }

    static String fConnect() throws Exception {
        try (Connection c = connect()) {
            return join(ask(c, "SELECT concat_ws('|', current_user, current_database(), current_setting('application_name'), "
                + "current_setting('client_encoding'), current_setting('extra_float_digits'), current_setting('TimeZone'))"),
                c.getMetaData().getDatabaseProductName(), c.isValid(5));
        }
    }

    static String fOptions() throws Exception {
        try (Connection c = connect("&options=-c%20work_mem=9MB%20-c%20statement_timeout=33s&currentSchema=pg_catalog")) {
            Set<String> seen = new TreeSet<>();
            for (int i = 0; i < 10; i++) {
                seen.add(ask(c, SHOW));
            }
            return seen.toString();
        }
    }

    static String fCrud() throws Exception {
        try (Connection c = connect()) {
            String t = "crud_" + RUN;
            run(c, "CREATE TABLE " + t + " (id serial PRIMARY KEY, a text)");
            List<Object> seen = new ArrayList<>();
            try (PreparedStatement p = c.prepareStatement("INSERT INTO " + t + " (a) VALUES (?)",
                    Statement.RETURN_GENERATED_KEYS)) {
                for (String a : new String[] {"x", null, "Grüße 🐘"}) {
                    p.setString(1, a);
                    p.executeUpdate();
                    ResultSet keys = p.getGeneratedKeys();
                    keys.next();
                    seen.add(keys.getInt("id"));
                }
            }
            seen.add(ask(c, "UPDATE " + t + " SET a = upper(a) WHERE id <> ?", 2));
            seen.add(ask(c, "DELETE FROM " + t + " WHERE a = ?", "X"));
            seen.add(ask(c, "SELECT * FROM " + t + " ORDER BY id"));
            run(c, "DROP TABLE " + t);
            return join(seen.toArray());
        }
    }

    static String fTypes() throws Exception {
        try (Connection c = connect(); PreparedStatement p = c.prepareStatement(
                "SELECT ?::int, ?::int8, ?::numeric, ?::text, ?::bytea, ?::timestamptz, ?::jsonb, ?::int[], ?::text, ?::bool")) {
            String out = "";
            for (int n = 0; n < 8; n++) {       // text at first, binary later
                fill(p, 42, 9007199254740993L, new BigDecimal("12345678901234567890.123456789"), "Grüße 🐘 日本",
                    new byte[] {0, -1, 16}, OffsetDateTime.of(2024, 2, 29, 12, 34, 56, 789000000, ZoneOffset.UTC),
                    "{\"a\": [1, null]}", c.createArrayOf("int", new Integer[] {1, null, 3}), null, true);
                ResultSet r = p.executeQuery();
                r.next();
                String now = join(r.getInt(1), r.getLong(2), r.getBigDecimal(3), r.getString(4),
                    HexFormat.of().formatHex(r.getBytes(5)), r.getObject(6, OffsetDateTime.class), r.getString(7),
                    Arrays.toString((Object[]) r.getArray(8).getArray()), r.getString(9), r.getBoolean(10));
                out = n == 0 || out.equals(now) ? now : out + " then " + now;
            }
            return out;
        }
    }

    static String fTransactions() throws Exception {
        try (Connection c = connect(); Connection d = connect()) {
            String t = "tx_" + RUN;
            run(c, "CREATE TABLE " + t + " (a int)");
            c.setAutoCommit(false);
            c.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
            List<Object> seen = new ArrayList<>();
            for (boolean keep : new boolean[] {true, false}) {
                ask(c, "INSERT INTO " + t + " VALUES (?)", 1);
                Savepoint s = c.setSavepoint("s");
                seen.add(code(() -> ask(c, "SELECT 1/0")));
                seen.add(code(() -> ask(c, "SELECT 1")));
                c.rollback(s);
                ask(c, "INSERT INTO " + t + " VALUES (?)", 2);
                c.releaseSavepoint(c.setSavepoint());
                seen.add(ask(c, "SHOW transaction_isolation"));
                seen.add(ask(d, "SELECT count(*) FROM " + t));
                if (keep) {
                    c.commit();
                } else {
                    c.rollback();
                }
                seen.add(ask(d, "SELECT string_agg(a::text, '|' ORDER BY a) FROM " + t));
            }
            c.setReadOnly(true);
            seen.add(code(() -> ask(c, "INSERT INTO " + t + " VALUES (3)")));
            c.rollback();
            run(d, "DROP TABLE " + t);
            return join(seen.toArray());
        }
    }

    static String fPrepared() throws Exception {
        try (Connection c = connect(); Connection d = connect("&preparedStatementCacheQueries=4");
                PreparedStatement p = c.prepareStatement("SELECT ?::int * 2")) {
            int sum = 0;
            for (int i = 0; i < 150; i++) {
                p.setInt(1, i);
                ResultSet r = p.executeQuery();
                r.next();
                sum += r.getInt(1) + Integer.parseInt(ask(d, "SELECT ?::int + " + i % 7, i));
            }
            // the same query with another type, and the driver's own recovery
            p.setString(1, "11");
            p.executeQuery();
            run(c, "DEALLOCATE ALL");
            return sum + " " + code(() -> {
                p.setInt(1, 4);
                return p.executeQuery();
            });
        }
    }

    static String fSchema() throws Exception {
        try (Connection c = connect("&autosave=conservative"); Connection d = connect()) {
            String t = "ch_" + RUN;
            run(d, "CREATE TABLE " + t + " (a int)");
            run(d, "INSERT INTO " + t + " VALUES (1)");
            c.setAutoCommit(false);
            List<Object> seen = new ArrayList<>();
            for (int i = 0; i < 12; i++) {
                if (i == 8) {
                    run(d, "ALTER TABLE " + t + " ADD b int DEFAULT 2");
                }
                seen.add(ask(c, "SELECT * FROM " + t));
                c.commit();
            }
            run(d, "DROP TABLE " + t);
            return join(seen.toArray());
        }
    }

    static String fBatch() throws Exception {
        try (Connection c = connect(); Connection d = connect("&reWriteBatchedInserts=true")) {
            String t = "batch_" + RUN;
            run(c, "CREATE TABLE " + t + " (i int PRIMARY KEY, a text)");
            List<Object> seen = new ArrayList<>();
            int from = 0;
            for (Connection x : new Connection[] {c, d}) {
                x.setAutoCommit(false);
                try (PreparedStatement p = x.prepareStatement("INSERT INTO " + t + " VALUES (?, ?)")) {
                    for (int i = 0; i < 700; i++) {
                        fill(p, from + i, "v" + i).addBatch();
                    }
                    seen.add(p.executeBatch().length);
                    x.commit();
                    fill(p, from + 1000, "").addBatch();
                    fill(p, from, "").addBatch();
                    seen.add(code(p::executeBatch));
                    x.rollback();
                }
                from += 5000;
            }
            try (Statement s = c.createStatement()) {
                s.addBatch("UPDATE " + t + " SET a = 'x' WHERE i < 10");
                s.addBatch("DELETE FROM " + t + " WHERE i = 3");
                seen.add(Arrays.toString(s.executeBatch()));
                s.execute("SELECT 1; SELECT 2");
                seen.add(s.getMoreResults());
            }
            c.commit();
            seen.add(ask(d, "SELECT count(*) FROM " + t));
            d.commit();
            run(c, "DROP TABLE " + t);
            c.commit();
            return join(seen.toArray());
        }
    }

    static String fCursor() throws Exception {
        try (Connection c = connect(); Connection d = connect()) {
            c.setAutoCommit(false);
            long sum = 0;
            for (int n = 0; n < 6; n++) {
                try (PreparedStatement p = c.prepareStatement("SELECT i FROM generate_series(1, ?) i")) {
                    p.setFetchSize(100);
                    ResultSet r = fill(p, 1000).executeQuery();
                    while (r.next()) {
                        sum += r.getInt(1);
                        if (r.getInt(1) % 250 == 0) {
                            run(d, "SELECT 1");
                        }
                    }
                }
                c.commit();
            }
            try (PreparedStatement p = c.prepareStatement("SELECT generate_series(1, 1000)")) {
                p.setFetchSize(10);
                p.setMaxRows(25);
                ResultSet r = p.executeQuery();
                while (r.next()) {
                    sum++;
                }
            }
            return String.valueOf(sum);
        }
    }

    static String fCopy() throws Exception {
        try (Connection c = connect()) {
            String t = "copy_" + RUN;
            run(c, "CREATE TABLE " + t + " (i int, a text)");
            CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder in = new StringBuilder();
            for (int i = 0; i < 5000; i++) {
                in.append(i).append("\tline ").append(i).append('\n');
            }
            StringWriter out = new StringWriter();
            String got = join(copy.copyIn("COPY " + t + " FROM STDIN", new StringReader(in.toString())),
                copy.copyOut("COPY " + t + " TO STDOUT", out), out.toString().length(),
                code(() -> copy.copyIn("COPY " + t + " FROM STDIN", new StringReader("a\tb\n".repeat(100000)))),
                ask(c, "SELECT count(*) FROM " + t));
            run(c, "DROP TABLE " + t);
            return got;
        }
    }

    static String fCancel() throws Exception {
        try (Connection c = connect(); Connection d = connect(); Statement s = c.createStatement()) {
            String sleep = "SELECT pg_sleep(20), '" + RUN + "'";
            ExecutorService one = Executors.newSingleThreadExecutor();
            var asleep = one.submit(() -> code(() -> s.execute(sleep)));
            while (!ask(d, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = ?", sleep).equals("1")) {
                Thread.sleep(10);
            }
            s.cancel();
            one.shutdown();
            String first = asleep.get(20, TimeUnit.SECONDS);
            s.setQueryTimeout(1);
            return join(first, code(() -> s.execute(sleep)), ask(c, "SELECT 1"));
        }
    }

    static String fNotify() throws Exception {
        try (Connection a = connect(); Connection b = connect()) {
            run(a, "LISTEN ch_" + RUN);
            String out = "";
            for (int i = 0; i < 3; i++) {
                ask(b, "SELECT pg_notify(?, ?)", "ch_" + RUN, "n" + i);
                PGNotification[] n = a.unwrap(PGConnection.class).getNotifications(10000);
                out += (n == null || n.length == 0 ? "nothing" : n[0].getParameter()) + " ";
            }
            run(a, "UNLISTEN *");
            run(b, "NOTIFY ch_" + RUN);
            run(a, "SELECT 1");
            PGNotification[] n = a.unwrap(PGConnection.class).getNotifications();
            return out + (n == null ? 0 : n.length);
        }
    }

    static String fErrors() throws Exception {
        try (Connection c = connect()) {
            List<Object> seen = new ArrayList<>();
            for (String sql : new String[] {"SELEC 1", "SELECT * FROM nowhere", "SELECT 1/0", "INSERT INTO kv VALUES (1, 1)"}) {
                seen.add(code(() -> ask(c, sql)));
                seen.add(ask(c, "SELECT ?::int", 1));
            }
            return join(seen.toArray());
        }
    }

    static String fSettings() throws Exception {
        try (Connection a = connect(); Connection b = connect(); Connection c = connect()) {
            a.setSchema("schema_" + RUN);
            run(a, "SET statement_timeout = '31s'; SET TimeZone = 'Asia/Tokyo'");
            ask(b, "SELECT set_config('work_mem', ?, false)", "6MB");
            run(b, "SET statement_timeout = '32s'");
            c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            Map<Connection, Set<String>> seen = new LinkedHashMap<>();
            for (int i = 0; i < 15; i++) {
                for (Connection x : new Connection[] {a, b, c}) {
                    seen.computeIfAbsent(x, k -> new TreeSet<>()).add(ask(x, SHOW) + "|" + ask(x, "SHOW transaction_isolation"));
                }
            }
            return seen.values() + " " + a.getSchema();
        }
    }

    static String fTemp() throws Exception {
        try (Connection a = connect(); Connection b = connect()) {
            run(a, "CREATE TEMP TABLE temp_" + RUN + " (i int)");
            Set<String> seen = new TreeSet<>();
            for (int i = 0; i < 10; i++) {
                ask(a, "INSERT INTO temp_" + RUN + " VALUES (?)", i);
                seen.add(ask(b, "SELECT to_regclass(?)", "temp_" + RUN));
            }
            return join(ask(a, "SELECT sum(i) FROM temp_" + RUN), "other:", seen);
        }
    }

    static String fLocks() throws Exception {
        try (Connection a = connect(); Connection b = connect()) {
            ask(a, "SELECT pg_advisory_lock(hashtext(?))", RUN);
            List<Object> seen = new ArrayList<>();
            for (int i = 0; i < 5; i++) {
                seen.add(ask(b, "SELECT pg_try_advisory_xact_lock(hashtext(?))", RUN));
            }
            seen.add(ask(a, "SELECT pg_advisory_unlock(hashtext(?))", RUN));
            seen.add(ask(b, "SELECT pg_try_advisory_xact_lock(hashtext(?))", RUN));
            return join(seen.toArray());
        }
    }

    static String fCatalog() throws Exception {
        try (Connection c = connect()) {
            ResultSet r = c.getMetaData().getColumns(null, "public", "kv", null);
            List<Object> seen = new ArrayList<>();
            while (r.next()) {
                seen.add(r.getString("COLUMN_NAME") + ":" + r.getString("TYPE_NAME"));
            }
            return join(seen.toArray());
        }
    }

    public static void main(String[] args) throws Exception {
        parameters = String.join("&", args);
        Driver driver = DriverManager.getDriver("jdbc:postgresql:");
        System.out.println("driver\tpgjdbc " + System.getenv("DRIVER_VERSION")
            + (args.length == 0 ? "" : ", " + String.join(" ", args)));
        if (driver.getMajorVersion() != 42) {
            throw new IllegalStateException("not the driver that was asked for");
        }
        Map<String, Callable<String>> features = new LinkedHashMap<>();
        features.put("connect", Drive::fConnect);
        features.put("options", Drive::fOptions);
        features.put("crud", Drive::fCrud);
        if (!parameters.contains("simple")) {       // which has no bytea
            features.put("types", Drive::fTypes);
        }
        features.put("transactions", Drive::fTransactions);
        features.put("prepared", Drive::fPrepared);
        features.put("schema", Drive::fSchema);
        features.put("batch", Drive::fBatch);
        features.put("cursor", Drive::fCursor);
        features.put("copy", Drive::fCopy);
        features.put("cancel", Drive::fCancel);
        features.put("notify", Drive::fNotify);
        features.put("errors", Drive::fErrors);
        features.put("settings", Drive::fSettings);
        features.put("temp", Drive::fTemp);
        features.put("locks", Drive::fLocks);
        features.put("catalog", Drive::fCatalog);
        for (var f : features.entrySet()) {
            ExecutorService one = Executors.newSingleThreadExecutor();
            String got;
            try {
                got = one.submit(f.getValue()).get(20, TimeUnit.SECONDS);
            } catch (ExecutionException e) {
                got = "raised " + e.getCause();
            } catch (Exception e) {
                got = "raised " + e;
            }
            one.shutdownNow();
            System.out.println(f.getKey() + "\t" + got.replace(RUN, "RUN").replaceAll("\\s+", " "));
        }
        System.exit(0);
    }
}
