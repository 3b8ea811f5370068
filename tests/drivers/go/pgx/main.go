// SPDX-License-Identifier: ISC

// pgx: prepares and caches every statement; pgxpool, batches, COPY in binary.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

var run = os.Getenv("RUN_ID")
var bg = context.Background()

func connect(settings ...string) *pgx.Conn {
	c, err := pgx.Connect(bg, strings.Join(append(settings, "application_name=drv"), " "))
	check(err)
	return c
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

type querier interface {
	QueryRow(context.Context, string, ...interface{}) pgx.Row
}

func number(c querier, sql string, args ...interface{}) (n int) {
	check(c.QueryRow(bg, sql, args...).Scan(&n))
	return
}

func text(c querier, sql string, args ...interface{}) string {
	var s *string
	check(c.QueryRow(bg, sql, args...).Scan(&s))
	if s == nil {
		return "NULL"
	}
	return *s
}

func exec(c interface {
	Exec(context.Context, string, ...interface{}) (pgconn.CommandTag, error)
}, sql string, args ...interface{}) string {
	tag, err := c.Exec(bg, sql, args...)
	check(err)
	return tag.String()
}

func distinct(seen map[string]bool) string {
	var out []string
	for s := range seen {
		out = append(out, s)
	}
	sort.Strings(out)
	return strings.Join(out, " / ")
}

const show = `SELECT concat_ws('|', current_setting('search_path'), current_setting('statement_timeout'),
	current_setting('TimeZone'), current_setting('work_mem'))`

func fConnect() string {
	c := connect()
	defer c.Close(bg)
	return text(c, "SELECT concat_ws('|', current_user, current_database(), current_setting('application_name'))") +
		" " + c.PgConn().ParameterStatus("client_encoding")
}

func fOptions() string {
	c := connect("work_mem=9MB", "statement_timeout=33000")
	defer c.Close(bg)
	seen := map[string]bool{}
	for i := 0; i < 10; i++ {
		seen[text(c, show)] = true
	}
	return distinct(seen)
}

func fCrud() string {
	c := connect()
	defer c.Close(bg)
	t := "crud_" + run
	exec(c, "CREATE TABLE "+t+" (id serial PRIMARY KEY, a text)")
	out := ""
	x, u := "x", "Grüße 🐘"
	for _, a := range []*string{&x, nil, &u} {
		out += fmt.Sprint(number(c, "INSERT INTO "+t+" (a) VALUES ($1) RETURNING id", a), " ")
	}
	out += exec(c, "UPDATE "+t+" SET a = upper(a) WHERE id <> $1", 2) + " " + exec(c, "DELETE FROM "+t+" WHERE a = 'X'")
	rows, err := c.Query(bg, "SELECT id, a FROM "+t+" ORDER BY id")
	check(err)
	for rows.Next() {
		v, err := rows.Values()
		check(err)
		out += fmt.Sprint(" ", v)
	}
	check(rows.Err())
	exec(c, "DROP TABLE "+t)
	return out
}

func fTypes() string {
	c := connect()
	defer c.Close(bg)
	var (
		i   int
		l   int64
		n   string
		s   string
		b   []byte
		at  time.Time
		doc map[string]interface{}
		arr []*int32
		nul *string
		yes bool
	)
	one, three := int32(1), int32(3)
	check(c.QueryRow(bg, "SELECT $1::int, $2::int8, $3::numeric::text, $4::text, $5::bytea, $6::timestamptz, "+
		"$7::jsonb, $8::int[], $9::text, $10::bool", 42, int64(9007199254740993), "12345678901234567890.123456789",
		"Grüße 🐘 日本", []byte{0, 255, 16}, time.Date(2024, 2, 29, 12, 34, 56, 789e6, time.UTC),
		map[string]interface{}{"a": []interface{}{1, nil}}, []*int32{&one, nil, &three}, nil, true).
		Scan(&i, &l, &n, &s, &b, &at, &doc, &arr, &nul, &yes))
	return fmt.Sprint(i, l, n, s, b, at.UTC(), doc, *arr[0], arr[1] == nil, *arr[2], nul == nil, yes)
}

func fTransactions() string {
	c, d := connect(), connect()
	defer c.Close(bg)
	defer d.Close(bg)
	t := "tx_" + run
	exec(c, "CREATE TABLE "+t+" (a int)")
	out := ""
	for _, keep := range []bool{true, false} {
		tx, err := c.BeginTx(bg, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
		check(err)
		exec(tx, "INSERT INTO "+t+" VALUES (1)")
		sp, err := tx.Begin(bg)
		check(err)
		_, err = sp.Exec(bg, "SELECT 1/0")
		out += code(err) + " "
		check(sp.Rollback(bg))
		sp, err = tx.Begin(bg)
		check(err)
		exec(sp, "INSERT INTO "+t+" VALUES (2)")
		check(sp.Commit(bg))
		out += fmt.Sprint(number(d, "SELECT count(*) FROM "+t), " ")
		if keep {
			check(tx.Commit(bg))
		} else {
			check(tx.Rollback(bg))
		}
		out += text(d, "SELECT string_agg(a::text, '|' ORDER BY a) FROM "+t) + " "
	}
	exec(c, "DROP TABLE "+t)
	return out
}

func fPrepared() string {
	c, d := connect(), connect("statement_cache_capacity=5")
	defer c.Close(bg)
	defer d.Close(bg)
	_, err := c.Prepare(bg, "twice", "SELECT $1::int * 2")
	check(err)
	sum := 0
	for i := 0; i < 150; i++ {
		sum += number(c, "twice", i) + number(d, fmt.Sprint("SELECT $1::int + ", i%9), i)
	}
	e := connect("statement_cache_mode=describe")
	defer e.Close(bg)
	for i := 0; i < 50; i++ {
		sum += number(e, "SELECT $1::int * 2", i)
	}
	s := connect()
	defer s.Close(bg)
	for i := 0; i < 20; i++ {
		sum += number(s, "SELECT $1::int * 2", pgx.QuerySimpleProtocol(true), i)
	}
	check(c.Deallocate(bg, "twice"))
	_, err = c.Exec(bg, "twice", 1)
	return fmt.Sprint(sum, " ", code(err))
}

func fBatch() string {
	c := connect()
	defer c.Close(bg)
	t := "batch_" + run
	exec(c, "CREATE TABLE "+t+" (i int)")
	b := &pgx.Batch{}
	for i := 0; i < 200; i++ {
		b.Queue("INSERT INTO "+t+" VALUES ($1)", i)
	}
	b.Queue("SELECT sum(i) FROM " + t)
	r := c.SendBatch(bg, b)
	for i := 0; i < 200; i++ {
		_, err := r.Exec()
		check(err)
	}
	sum := 0
	check(r.QueryRow().Scan(&sum))
	check(r.Close())
	b = &pgx.Batch{}
	b.Queue("INSERT INTO "+t+" VALUES ($1)", 1)
	b.Queue("SELECT 1/$1::int", 0)
	b.Queue("INSERT INTO "+t+" VALUES ($1)", 2)
	err := c.SendBatch(bg, b).Close()
	out := fmt.Sprint(sum, " ", code(err), " ", number(c, "SELECT count(*) FROM "+t))
	exec(c, "DROP TABLE "+t)
	return out
}

func fCursor() string {
	c, d := connect(), connect()
	defer c.Close(bg)
	defer d.Close(bg)
	tx, err := c.Begin(bg)
	check(err)
	exec(tx, "DECLARE k CURSOR FOR SELECT i FROM generate_series(1, 100) i")
	sum := 0
	for n := 0; n < 4; n++ {
		rows, err := tx.Query(bg, "FETCH 25 FROM k")
		check(err)
		for rows.Next() {
			var i int
			check(rows.Scan(&i))
			sum += i
		}
		number(d, "SELECT 1")
	}
	check(tx.Commit(bg))
	// rows that are not read to the end
	rows, err := c.Query(bg, "SELECT generate_series(1, 100000)")
	check(err)
	rows.Next()
	rows.Close()
	return fmt.Sprint(sum, number(c, "SELECT 1"))
}

func fCopy() string {
	c := connect()
	defer c.Close(bg)
	t := "copy_" + run
	exec(c, "CREATE TABLE "+t+" (i int, a text)")
	n, err := c.CopyFrom(bg, pgx.Identifier{t}, []string{"i", "a"}, pgx.CopyFromSlice(5000, func(i int) ([]interface{}, error) {
		return []interface{}{i, fmt.Sprint("line ", i)}, nil
	}))
	check(err)
	var out bytes.Buffer
	_, err = c.PgConn().CopyTo(bg, &out, "COPY "+t+" TO STDOUT")
	check(err)
	_, err = c.PgConn().CopyFrom(bg, strings.NewReader(strings.Repeat("a\tb\n", 100000)), "COPY "+t+" FROM STDIN")
	got := fmt.Sprint(n, " ", out.Len(), " ", code(err), " ", number(c, "SELECT count(*) FROM "+t))
	exec(c, "DROP TABLE "+t)
	return got
}

func fCancel() string {
	c, d := connect(), connect()
	defer d.Close(bg)
	done := make(chan string)
	sleep := "SELECT pg_sleep(20), '" + run + "'"
	go func() {
		_, err := c.Exec(bg, sleep)
		done <- code(err)
	}()
	for number(d, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = $1", sleep) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	check(c.PgConn().CancelRequest(bg))
	out := fmt.Sprint(<-done, " ", number(c, "SELECT 1"))
	ctx, stop := context.WithTimeout(bg, 200*time.Millisecond)
	defer stop()
	_, err := c.Exec(ctx, "SELECT pg_sleep(20)")
	return fmt.Sprint(out, " ", errors.Is(err, context.DeadlineExceeded), " ", c.IsClosed(), " ", number(d, "SELECT 1"))
}

func fNotify() string {
	a, b := connect(), connect()
	defer a.Close(bg)
	defer b.Close(bg)
	exec(a, "LISTEN ch_"+run)
	out := ""
	for i := 0; i < 3; i++ {
		exec(b, "SELECT pg_notify($1, $2)", "ch_"+run, fmt.Sprint("n", i))
		ctx, stop := context.WithTimeout(bg, 10*time.Second)
		n, err := a.WaitForNotification(ctx)
		stop()
		check(err)
		out += n.Payload + " "
	}
	exec(a, "UNLISTEN *")
	exec(b, "NOTIFY ch_"+run)
	return out + fmt.Sprint(number(a, "SELECT 1"))
}

func fErrors() string {
	c := connect()
	defer c.Close(bg)
	out := ""
	for _, sql := range []string{"SELEC 1", "SELECT * FROM nowhere", "SELECT 1/0", "INSERT INTO kv VALUES (1, 1)"} {
		_, err := c.Exec(bg, sql)
		_, simple := c.Exec(bg, sql, pgx.QuerySimpleProtocol(true))
		out += fmt.Sprint(code(err), " ", code(simple), " ", number(c, "SELECT 1"), " ")
	}
	return out
}

func fSettings() string {
	a, b, c := connect(), connect(), connect()
	exec(a, "SET search_path = schema_"+run+"; SET statement_timeout = '31s'; SET TimeZone = 'Asia/Tokyo'")
	exec(b, "SELECT set_config('work_mem', $1, false)", "6MB")
	exec(b, "SET statement_timeout = '32s'")
	var out []string
	for _, x := range []*pgx.Conn{a, b, c} {
		defer x.Close(bg)
	}
	seen := []map[string]bool{{}, {}, {}}
	for i := 0; i < 15; i++ {
		for n, x := range []*pgx.Conn{a, b, c} {
			seen[n][text(x, show)] = true
		}
	}
	for _, s := range seen {
		out = append(out, distinct(s))
	}
	return strings.Join(out, "; ")
}

func fTemp() string {
	a, b := connect(), connect()
	defer a.Close(bg)
	defer b.Close(bg)
	exec(a, "CREATE TEMP TABLE temp_"+run+" (i int)")
	seen := map[string]bool{}
	for i := 0; i < 10; i++ {
		exec(a, "INSERT INTO temp_"+run+" VALUES ($1)", i)
		seen[text(b, "SELECT to_regclass($1)::text", "temp_"+run)] = true
	}
	return fmt.Sprint(number(a, "SELECT sum(i) FROM temp_"+run), " other: ", distinct(seen))
}

func fLocks() string {
	a, b := connect(), connect()
	defer a.Close(bg)
	defer b.Close(bg)
	exec(a, "SELECT pg_advisory_lock(hashtext($1))", run)
	out := ""
	for i := 0; i < 5; i++ {
		out += text(b, "SELECT pg_try_advisory_xact_lock(hashtext($1))::text", run) + " "
	}
	out += text(a, "SELECT pg_advisory_unlock(hashtext($1))::text", run) + " "
	return out + text(b, "SELECT pg_try_advisory_xact_lock(hashtext($1))::text", run)
}

func fPool() string {
	p, err := pgxpool.Connect(bg, "application_name=drv pool_max_conns=4")
	check(err)
	defer p.Close()
	sums := make(chan int)
	for w := 0; w < 6; w++ {
		go func() {
			sum := 0
			for i := 0; i < 30; i++ {
				sum += number(p, "SELECT $1::int", i)
			}
			sums <- sum
		}()
	}
	sum := 0
	for w := 0; w < 6; w++ {
		sum += <-sums
	}
	return fmt.Sprint(sum)
}

func main() {
	fmt.Printf("driver\tpgx %s\n", os.Getenv("DRIVER_VERSION"))
	for _, f := range []struct {
		name string
		see  func() string
	}{{"connect", fConnect}, {"options", fOptions}, {"crud", fCrud}, {"types", fTypes}, {"transactions", fTransactions},
		{"prepared", fPrepared}, {"batch", fBatch}, {"cursor", fCursor}, {"copy", fCopy}, {"cancel", fCancel},
		{"notify", fNotify}, {"errors", fErrors}, {"settings", fSettings}, {"temp", fTemp}, {"locks", fLocks},
		{"pool", fPool}} {
		done := make(chan string, 1)
		go func() {
			defer func() {
				if r := recover(); r != nil {
					done <- fmt.Sprint("raised ", r)
				}
			}()
			done <- f.see()
		}()
		got := "raised nothing for 20 s"
		select {
		case got = <-done:
		case <-time.After(20 * time.Second):
		}
		fmt.Printf("%s\t%s\n", f.name, strings.Join(strings.Fields(strings.ReplaceAll(got, run, "RUN")), " "))
	}
}
