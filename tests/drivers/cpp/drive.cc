// SPDX-License-Identifier: ISC
// libpqxx.
#include <chrono>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <pqxx/pqxx>
#include <set>
#include <sstream>
#include <thread>
#include <unistd.h>

static const std::string run = std::getenv("RUN_ID");
static const std::string show = "SELECT concat_ws('|', current_setting('search_path'), "
    "current_setting('statement_timeout'), current_setting('TimeZone'), current_setting('work_mem'))";

struct Connection : pqxx::connection {
    explicit Connection(const std::string &more = "") : pqxx::connection("application_name=drv " + more) {}
};

template <typename... Args> static std::string one(pqxx::connection &c, const std::string &sql, Args... args)
{
    pqxx::nontransaction t(c);
    return t.exec_params(sql, args...)[0][0].template as<std::string>("NULL");
}

static void exec(pqxx::connection &c, const std::string &sql)
{
    pqxx::nontransaction(c).exec(sql);
}

static std::string rows(const pqxx::result &r)
{
    std::ostringstream out;
    for (const auto &row : r) {
        for (const auto &field : row)
            out << field.as<std::string>("NULL") << '|';
        out << ' ';
    }
    return out.str();
}

static std::string join(const std::set<std::string> &seen)
{
    std::string out;
    for (const auto &s : seen)
        out += (out.empty() ? "" : " / ") + s;
    return out;
}

static std::string code(const std::function<void()> &f)
{
    try {
        f();
        return "no error";
    } catch (const pqxx::sql_error &e) {
        return e.sqlstate();
    }
}

static std::string f_connect()
{
    Connection c;
    return one(c, "SELECT concat_ws('|', current_user, current_database(), current_setting('application_name'))") + " " +
        std::to_string(c.server_version() / 10000);
}

static std::string f_options()
{
    Connection c("options='-c work_mem=9MB -c statement_timeout=33s'");
    std::set<std::string> seen;
    for (int i = 0; i < 10; i++)
        seen.insert(one(c, show));
    return join(seen);
}

static std::string f_crud()
{
    Connection c;
    const std::string t = "crud_" + run;
    exec(c, "CREATE TABLE " + t + " (id serial PRIMARY KEY, a text)");
    std::string out;
    for (const char *a : {"x", static_cast<const char *>(nullptr), "Grüße 🐘"})
        out += one(c, "INSERT INTO " + t + " (a) VALUES ($1) RETURNING id", a) + " ";
    pqxx::work w(c);
    out += std::to_string(w.exec_params("UPDATE " + t + " SET a = upper(a) WHERE id <> $1", 2).affected_rows()) + " ";
    out += std::to_string(w.exec("DELETE FROM " + t + " WHERE a = 'X'").affected_rows()) + " ";
    out += rows(w.exec("SELECT * FROM " + t + " ORDER BY id"));
    w.exec("DROP TABLE " + t);
    w.commit();
    return out;
}

static std::string f_types()
{
    Connection c;
    pqxx::work w(c);
    return rows(w.exec_params("SELECT $1::int, $2::int8, $3::numeric, $4::text, $5::bytea, $6::timestamptz, $7::jsonb, "
        "$8::int[], $9::text, $10::bool", 42, 9007199254740993LL, "12345678901234567890.123456789", "Grüße 🐘 日本",
        pqxx::binarystring(std::string("\x00\xff\x10", 3)), "2024-02-29T12:34:56.789Z", "{\"a\": [1, null]}", "{1,NULL,3}",
        static_cast<const char *>(nullptr), true));
}

static std::string f_transactions()
{
    Connection c, d;
    const std::string t = "tx_" + run;
    exec(c, "CREATE TABLE " + t + " (a int)");
    std::string out;
    for (bool keep : {true, false}) {
        pqxx::transaction<pqxx::repeatable_read> w(c);
        w.exec("INSERT INTO " + t + " VALUES (1)");
        {
            pqxx::subtransaction s(w, "inner");
            out += code([&] { s.exec("SELECT 1/0"); }) + " ";
            s.abort();
        }
        pqxx::subtransaction s(w);
        s.exec("INSERT INTO " + t + " VALUES (2)");
        s.commit();
        out += one(d, "SELECT count(*) FROM " + t) + " ";
        if (keep)
            w.commit();
        else
            w.abort();
        out += one(d, "SELECT string_agg(a::text, '|' ORDER BY a) FROM " + t) + " ";
    }
    exec(c, "DROP TABLE " + t);
    return out;
}

static std::string f_prepared()
{
    Connection c, d;
    c.prepare("twice", "SELECT $1::int * 2");
    d.prepare("twice", "SELECT $1::int * 3");
    long sum = 0;
    for (int i = 0; i < 150; i++) {
        pqxx::work v(c), w(d);
        sum += v.exec_prepared1("twice", i)[0].as<long>() + w.exec_prepared1("twice", i)[0].as<long>();
        v.commit();
        w.commit();
    }
    c.unprepare("twice");
    return std::to_string(sum) + " " + one(c, "SELECT $1::int", 1);
}

static std::string f_batch()
{
    Connection c;
    pqxx::work w(c);
    long sum = 0;
    {
        pqxx::pipeline p(w);
        p.retain(20);
        for (int i = 0; i < 100; i++)
            p.insert("SELECT " + std::to_string(i));
        p.complete();
        while (!p.empty())
            sum += p.retrieve().second[0][0].as<long>();
    }
    w.commit();
    return std::to_string(sum);
}

static std::string f_cursor()
{
    Connection c, d;
    long sum = 0;
    pqxx::work w(c);
    pqxx::icursorstream rows(w, "SELECT generate_series(1, 1000)", "k", 100);
    pqxx::result r;
    while (rows >> r) {
        for (const auto &row : r)
            sum += row[0].as<long>();
        one(d, "SELECT 1");
    }
    w.commit();
    return std::to_string(sum);
}

static std::string f_copy()
{
    Connection c;
    const std::string t = "copy_" + run;
    exec(c, "CREATE TABLE " + t + " (i int, a text)");
    {
        pqxx::work w(c);
        pqxx::stream_to out(w, t);
        for (int i = 0; i < 5000; i++)
            out << std::make_tuple(i, "line " + std::to_string(i));
        out.complete();
        w.commit();
    }
    size_t size = 0;
    {
        pqxx::work w(c);
        pqxx::stream_from in(w, t);
        std::tuple<int, std::string> row;
        while (in >> row)
            size += std::get<1>(row).size();
        in.complete();
        w.commit();
    }
    std::string got = std::to_string(size) + " " + one(c, "SELECT count(*) FROM " + t);
    exec(c, "DROP TABLE " + t);
    return got;
}

static std::string f_cancel()
{
    Connection c, d;
    const std::string sleep = "SELECT pg_sleep(20), '" + run + "'";
    std::string out;
    std::thread sleeper([&] { out = code([&] { exec(c, sleep); }); });
    while (one(d, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = $1", sleep) == "0")
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    c.cancel_query();
    sleeper.join();
    exec(c, "SET statement_timeout = '100ms'");
    out += " " + code([&] { exec(c, sleep); });
    return out + " " + one(c, "SELECT 1");
}

struct Receiver : pqxx::notification_receiver {
    std::string heard;
    explicit Receiver(pqxx::connection &c) : pqxx::notification_receiver(c, "ch_" + run) {}
    void operator()(const std::string &payload, int) override { heard += payload + " "; }
};

static std::string f_notify()
{
    Connection a, b;
    std::string out;
    {
        Receiver r(a);
        for (int i = 0; i < 3; i++) {
            one(b, "SELECT pg_notify($1, $2)", "ch_" + run, "n" + std::to_string(i));
            a.await_notification(10, 0);
        }
        out = r.heard;
    }
    exec(b, "NOTIFY ch_" + run);
    return out + one(a, "SELECT 1") + " " + std::to_string(a.get_notifs());
}

static std::string f_errors()
{
    Connection c;
    std::string out;
    for (const char *sql : {"SELEC 1", "SELECT * FROM nowhere", "SELECT 1/0", "INSERT INTO kv VALUES (1, 1)"}) {
        out += code([&] { exec(c, sql); }) + " " + code([&] { one(c, sql); }) + " ";
        out += one(c, "SELECT $1::int", 1) + " ";
    }
    return out;
}

static std::string f_settings()
{
    Connection cs[3];
    exec(cs[0], "SET search_path = schema_" + run + "; SET statement_timeout = '31s'; SET TimeZone = 'Asia/Tokyo'");
    one(cs[1], "SELECT set_config('work_mem', $1, false)", "6MB");
    cs[1].set_variable("statement_timeout", "'32s'");
    std::set<std::string> seen[3];
    for (int i = 0; i < 15; i++)
        for (int n = 0; n < 3; n++)
            seen[n].insert(one(cs[n], show));
    return join(seen[0]) + "; " + join(seen[1]) + "; " + join(seen[2]);
}

static std::string f_temp()
{
    Connection a, b;
    exec(a, "CREATE TEMP TABLE temp_" + run + " (i int)");
    std::set<std::string> seen;
    for (int i = 0; i < 10; i++) {
        exec(a, "INSERT INTO temp_" + run + " VALUES (" + std::to_string(i) + ")");
        seen.insert(one(b, "SELECT to_regclass($1)", "temp_" + run));
    }
    return one(a, "SELECT sum(i) FROM temp_" + run) + " other: " + join(seen);
}

static std::string f_locks()
{
    Connection a, b;
    one(a, "SELECT pg_advisory_lock(hashtext($1))", run);
    std::string out;
    for (int i = 0; i < 5; i++)
        out += one(b, "SELECT pg_try_advisory_xact_lock(hashtext($1))", run) + " ";
    out += one(a, "SELECT pg_advisory_unlock(hashtext($1))", run) + " ";
    return out + one(b, "SELECT pg_try_advisory_xact_lock(hashtext($1))", run);
}

static std::string f_blob()
{
    Connection c;
    pqxx::work w(c);
    pqxx::largeobjectaccess blob(w);
    const std::string part(10000, 'x');
    for (int i = 0; i < 20; i++)
        blob.write(part);
    blob.seek(0, std::ios::beg);
    std::string back(300000, ' ');
    const auto n = blob.read(&back[0], back.size());
    blob.remove(w);
    w.commit();
    return std::to_string(n);
}

int main()
{
    alarm(60);
    const std::pair<const char *, std::string (*)()> features[] = {
        {"connect", f_connect}, {"options", f_options}, {"crud", f_crud}, {"types", f_types},
        {"transactions", f_transactions}, {"prepared", f_prepared}, {"batch", f_batch}, {"cursor", f_cursor},
        {"copy", f_copy}, {"cancel", f_cancel}, {"notify", f_notify}, {"errors", f_errors}, {"settings", f_settings},
        {"temp", f_temp}, {"locks", f_locks}, {"blob", f_blob}};
    std::cout << "driver\tlibpqxx " << std::getenv("DRIVER_VERSION") << std::endl;
    for (const auto &[name, f] : features) {
        std::string got;
        try {
            got = f();
        } catch (const std::exception &e) {
            got = std::string("raised ") + e.what();
        }
        for (size_t at; (at = got.find(run)) != std::string::npos;)
            got.replace(at, run.size(), "RUN");
        std::istringstream words(got);
        std::cout << name << '\t';
        for (std::string word; words >> word;)
            std::cout << word << ' ';
        std::cout << std::endl;
    }
}
