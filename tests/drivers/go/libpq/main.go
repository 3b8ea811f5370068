// SPDX-License-Identifier: ISC

// lib/pq under database/sql: unnamed and named statements, pq.CopyIn, Listener.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/lib/pq"
)

var run = os.Getenv("RUN_ID")
var bg = context.Background()

const dsn = "application_name=drv sslmode=disable"

func open(more string) *sql.DB {
	db, err := sql.Open("postgres", dsn+more)
	check(err)
	return db
}

// conn is one connection, and how to close it
func conn() (*sql.Conn, func()) {
	db := open("")
	c, err := db.Conn(bg)
	check(err)
	return c, func() { c.Close(); db.Close() }
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func code(err error) string {
	var e *pq.Error
	if errors.As(err, &e) {
		return string(e.Code)
	}
	return fmt.Sprint(err)
}

type querier interface {
	QueryRowContext(context.Context, string, ...interface{}) *sql.Row
	ExecContext(context.Context, string, ...interface{}) (sql.Result, error)
}

func number(c querier, text string, args ...interface{}) (n int) {
	check(c.QueryRowContext(bg, text, args...).Scan(&n))
	return
}

func text(c querier, text string, args ...interface{}) string {
	var s sql.NullString
	check(c.QueryRowContext(bg, text, args...).Scan(&s))
	if !s.Valid {
		return "NULL"
	}
	return s.String
}

func exec(c querier, text string, args ...interface{}) int64 {
	r, err := c.ExecContext(bg, text, args...)
	check(err)
	n, err := r.RowsAffected()
	check(err)
	return n
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
	c, end := conn()
	defer end()
	return text(c, "SELECT concat_ws('|', current_user, current_database(), current_setting('application_name'), "+
		"current_setting('extra_float_digits'), current_setting('datestyle'))")
}

func fOptions() string {
	db := open(" work_mem=9MB statement_timeout=33000 binary_parameters=yes")
	defer db.Close()
	seen := map[string]bool{}
	for i := 0; i < 10; i++ {
		seen[text(db, show)] = true
	}
	return distinct(seen)
}

func fCrud() string {
	c, end := conn()
	defer end()
	t := "crud_" + run
	exec(c, "CREATE TABLE "+t+" (id serial PRIMARY KEY, a text)")
	out := ""
	for _, a := range []interface{}{"x", nil, "Grüße 🐘"} {
		out += fmt.Sprint(number(c, "INSERT INTO "+t+" (a) VALUES ($1) RETURNING id", a), " ")
	}
	out += fmt.Sprint(exec(c, "UPDATE "+t+" SET a = upper(a) WHERE id <> $1", 2), exec(c, "DELETE FROM "+t+" WHERE a = 'X'"))
	rows, err := c.QueryContext(bg, "SELECT id, a FROM "+t+" ORDER BY id")
	check(err)
	for rows.Next() {
		var id int
		var a sql.NullString
		check(rows.Scan(&id, &a))
		out += fmt.Sprint(" ", id, a)
	}
	check(rows.Err())
	exec(c, "DROP TABLE "+t)
	return out
}

func fTypes() string {
	c, end := conn()
	defer end()
	var (
		i         int
		l         int64
		n, s, doc string
		b         []byte
		at        time.Time
		arr       []sql.NullInt64
		nul       sql.NullString
		yes       bool
	)
	check(c.QueryRowContext(bg, "SELECT $1::int, $2::int8, $3::numeric, $4::text, $5::bytea, $6::timestamptz, "+
		"$7::jsonb, $8::int[], $9::text, $10::bool", 42, int64(9007199254740993), "12345678901234567890.123456789",
		"Grüße 🐘 日本", []byte{0, 255, 16}, time.Date(2024, 2, 29, 12, 34, 56, 789e6, time.UTC), `{"a": [1, null]}`,
		pq.Array([]sql.NullInt64{{Int64: 1, Valid: true}, {}}), nil, true).
		Scan(&i, &l, &n, &s, &b, &at, &doc, pq.Array(&arr), &nul, &yes))
	return fmt.Sprint(i, l, n, s, b, at.UTC(), doc, arr, nul, yes)
}

func fTransactions() string {
	db, other := open(""), open("")
	defer db.Close()
	defer other.Close()
	t := "tx_" + run
	exec(db, "CREATE TABLE "+t+" (a int)")
	out := ""
	for _, keep := range []bool{true, false} {
		tx, err := db.BeginTx(bg, &sql.TxOptions{Isolation: sql.LevelSerializable})
		check(err)
		exec(tx, "INSERT INTO "+t+" VALUES (1)")
		exec(tx, "SAVEPOINT s")
		_, err = tx.Exec("SELECT 1/0")
		_, err2 := tx.Exec("SELECT 1")
		out += code(err) + " " + code(err2) + " "
		exec(tx, "ROLLBACK TO SAVEPOINT s")
		exec(tx, "INSERT INTO "+t+" VALUES (2)")
		out += fmt.Sprint(number(other, "SELECT count(*) FROM "+t), " ")
		if keep {
			check(tx.Commit())
		} else {
			check(tx.Rollback())
		}
		out += text(other, "SELECT string_agg(a::text, '|' ORDER BY a) FROM "+t) + " "
	}
	tx, err := db.BeginTx(bg, &sql.TxOptions{ReadOnly: true})
	check(err)
	_, err = tx.Exec("INSERT INTO " + t + " VALUES (3)")
	out += code(err)
	check(tx.Rollback())
	exec(db, "DROP TABLE "+t)
	return out
}

func fPrepared() string {
	db, other := open(""), open(" binary_parameters=yes")
	defer db.Close()
	defer other.Close()
	p, err := db.Prepare("SELECT $1::int * 2")
	check(err)
	sum := 0
	for i := 0; i < 150; i++ {
		n := 0
		check(p.QueryRow(i).Scan(&n))
		sum += n + number(other, "SELECT $1::int + $2", i, i%9)
	}
	check(p.Close())
	return fmt.Sprint(sum)
}

func fCursor() string {
	c, end := conn()
	defer end()
	rows, err := c.QueryContext(bg, "SELECT generate_series(1, 100000)")
	check(err)
	rows.Next()
	rows.Close()
	return fmt.Sprint(number(c, "SELECT 1"))
}

func fCopy() string {
	db := open("")
	defer db.Close()
	t := "copy_" + run
	exec(db, "CREATE TABLE "+t+" (i int, a text)")
	tx, err := db.Begin()
	check(err)
	in, err := tx.Prepare(pq.CopyIn(t, "i", "a"))
	check(err)
	for i := 0; i < 5000; i++ {
		_, err = in.Exec(i, fmt.Sprint("line ", i))
		check(err)
	}
	_, err = in.Exec()
	check(err)
	check(in.Close())
	check(tx.Commit())
	tx, err = db.Begin()
	check(err)
	in, err = tx.Prepare(pq.CopyIn(t, "i", "a"))
	check(err)
	_, err = in.Exec("x", "y")
	check(err)
	_, err = in.Exec()
	out := code(err)
	in.Close()
	tx.Rollback()
	out += fmt.Sprint(" ", number(db, "SELECT count(*) FROM "+t))
	exec(db, "DROP TABLE "+t)
	return out
}

func fCancel() string {
	c, end := conn()
	defer end()
	ctx, stop := context.WithTimeout(bg, 200*time.Millisecond)
	defer stop()
	_, err := c.ExecContext(ctx, "SELECT pg_sleep(20)")
	c2, end2 := conn()
	defer end2()
	_, err2 := c2.ExecContext(bg, "BEGIN; SET LOCAL statement_timeout = 100; SELECT pg_sleep(20)")
	exec(c2, "ROLLBACK")
	return fmt.Sprint(code(err), " ", code(err2), " ", number(c2, "SELECT 1"))
}

func fNotify() string {
	l := pq.NewListener(dsn, time.Second, time.Minute, nil)
	defer l.Close()
	check(l.Listen("ch_" + run))
	db := open("")
	defer db.Close()
	out := ""
	for i := 0; i < 3; i++ {
		exec(db, "SELECT pg_notify($1, $2)", "ch_"+run, fmt.Sprint("n", i))
		select {
		case n := <-l.Notify:
			out += n.Extra + " "
		case <-time.After(10 * time.Second):
			out += "nothing "
		}
	}
	check(l.Ping())
	check(l.Unlisten("ch_" + run))
	return out
}

func fErrors() string {
	c, end := conn()
	defer end()
	out := ""
	for _, text := range []string{"SELEC 1", "SELECT * FROM nowhere", "SELECT 1/0", "INSERT INTO kv VALUES (1, 1)"} {
		_, err := c.ExecContext(bg, text)
		p, err2 := c.PrepareContext(bg, text)
		if err2 == nil {
			_, err2 = p.Exec()
			p.Close()
		}
		out += fmt.Sprint(code(err), " ", code(err2), " ", number(c, "SELECT 1"), " ")
	}
	return out
}

func fSettings() string {
	var cs []*sql.Conn
	for i := 0; i < 3; i++ {
		c, end := conn()
		defer end()
		cs = append(cs, c)
	}
	exec(cs[0], "SET search_path = schema_"+run+"; SET statement_timeout = '31s'; SET TimeZone = 'Asia/Tokyo'")
	exec(cs[1], "SELECT set_config('work_mem', $1, false)", "6MB")
	exec(cs[1], "SET statement_timeout = '32s'")
	seen := []map[string]bool{{}, {}, {}}
	for i := 0; i < 15; i++ {
		for n, c := range cs {
			seen[n][text(c, show)] = true
		}
	}
	return distinct(seen[0]) + "; " + distinct(seen[1]) + "; " + distinct(seen[2])
}

func fTemp() string {
	a, end := conn()
	defer end()
	b, end2 := conn()
	defer end2()
	exec(a, "CREATE TEMP TABLE temp_"+run+" (i int)")
	seen := map[string]bool{}
	for i := 0; i < 10; i++ {
		exec(a, "INSERT INTO temp_"+run+" VALUES ($1)", i)
		seen[text(b, "SELECT to_regclass($1)", "temp_"+run)] = true
	}
	return fmt.Sprint(number(a, "SELECT sum(i) FROM temp_"+run), " other: ", distinct(seen))
}

func fLocks() string {
	a, end := conn()
	defer end()
	b, end2 := conn()
	defer end2()
	exec(a, "SELECT pg_advisory_lock(hashtext($1))", run)
	out := ""
	for i := 0; i < 5; i++ {
		out += text(b, "SELECT pg_try_advisory_xact_lock(hashtext($1))", run) + " "
	}
	out += text(a, "SELECT pg_advisory_unlock(hashtext($1))", run) + " "
	return out + text(b, "SELECT pg_try_advisory_xact_lock(hashtext($1))", run)
}

func fPool() string {
	db := open("")
	defer db.Close()
	db.SetMaxOpenConns(4)
	sums := make(chan int)
	for w := 0; w < 6; w++ {
		go func() {
			sum := 0
			for i := 0; i < 30; i++ {
				sum += number(db, "SELECT $1::int", i)
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
	fmt.Printf("driver\tlib/pq %s\n", os.Getenv("DRIVER_VERSION"))
	for _, f := range []struct {
		name string
		see  func() string
	}{{"connect", fConnect}, {"options", fOptions}, {"crud", fCrud}, {"types", fTypes}, {"transactions", fTransactions},
		{"prepared", fPrepared}, {"cursor", fCursor}, {"copy", fCopy}, {"cancel", fCancel}, {"notify", fNotify},
		{"errors", fErrors}, {"settings", fSettings}, {"temp", fTemp}, {"locks", fLocks}, {"pool", fPool}} {
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
