/* tests/unit/test_hba.c - pg_hba.conf: what a line is read as, what is refused and with
 * which words, and which rule holds for a client.
 *
 * SPDX-License-Identifier: ISC
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "conf/hba.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* --- the machine and its clients ------------------------------------------------ */

static struct net own[4];
static const char *const own_text[4] = {"127.0.0.1/8", "192.168.7.5/24", "::1/128",
					"2001:db8:7::5/64"};

static int setup(void **state)
{
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(own); i++)
		if (net_parse(own_text[i], NULL, &own[i], &e) < 0)
			return -1;
	return 0;
}

static const struct sockaddr *sock(const char *text)
{
	static union {
		struct sockaddr sa;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	} a;

	memset(&a, 0, sizeof(a));
	if (inet_pton(AF_INET, text, &a.in4.sin_addr) == 1) {
		a.sa.sa_family = AF_INET;
		a.in4.sin_port = htons(4711);
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, &a.in6.sin6_addr), 1);
		a.sa.sa_family = AF_INET6;
	}
	return &a.sa;
}

static struct hba *load_bytes(const char *text, size_t len)
{
	struct hba *h = NULL;
	struct err e = {.text = ""};

	if (hba_read_mem("f", text, len, own, COUNT(own), &h, &e) < 0)
		fail_msg("%s\nrefused: %s", text, e.text);
	assert_non_null(h);
	return h;
}

static struct hba *load(const char *text)
{
	return load_bytes(text, strlen(text));
}

static void refuse(const char *text, const char *a, const char *b)
{
	struct hba *h = (struct hba *)(void *)&h;
	struct err e = {.text = ""};

	if (hba_read_mem("f", text, strlen(text), own, COUNT(own), &h, &e) == 0)
		fail_msg("%s\nis accepted; expected: %s ... %s", text, a, b);
	assert_null(h);
	if (strncmp(e.text, a, strlen(a)) != 0 || !strstr(e.text, b))
		fail_msg("%s\nsaid: %s\nexpected: %s ... %s", text, e.text, a, b);
}

/* --- what a line is read as -------------------------------------------------------- */

static void put(char *out, size_t cap, const char *s)
{
	size_t n = strlen(out);

	assert_true(n + strlen(s) < cap);
	snprintf(out + n, cap - n, "%s", s);
}

static void put_names(char *out, size_t cap, const struct hba_names *names)
{
	static const char *const marks[] = {"=", "*", "*", "*", "~"};
	size_t i;

	for (i = 0; i < names->n; i++) {
		put(out, cap, i ? "," : "");
		put(out, cap, marks[names->at[i].word]);
		put(out, cap, names->at[i].text);
		assert_true((names->at[i].re != NULL) == (names->at[i].word == HBA_WORD_REGEXP));
	}
}

static void put_rule(char *out, size_t cap, const struct hba_rule *r)
{
	static const char *const certs[] = {"", " ca", " full"}, *const names[] = {"", " dn"};
	char text[INET6_ADDRSTRLEN];

	put(out, cap, hba_conn_word(r->conn));
	put(out, cap, " ");
	put_names(out, cap, &r->dbs);
	put(out, cap, " ");
	put_names(out, cap, &r->users);
	if (r->conn != HBA_LOCAL) {
		put(out, cap, " ");
		put(out, cap, hba_address_word(r->address));
	}
	if (r->conn != HBA_LOCAL && r->address == HBA_NET) {
		put(out, cap, net_print_addr(&r->net, text, sizeof(text)));
		put(out, cap, "/");
		put(out, cap, net_print_mask(&r->net, text, sizeof(text)));
	}
	put(out, cap, " ");
	put(out, cap, hba_method_word(r->method));
	put(out, cap, certs[r->clientcert]);
	put(out, cap, names[r->clientname]);
	if (r->map) {
		put(out, cap, " map:");
		put(out, cap, r->map);
	}
}

/* = a name, * a keyword, ~ a regular expression */
static const struct {
	const char *text, *want;
} read_as[] = {
	{"local all all trust", "local *all *all trust"},
	{"local all all reject", "local *all *all reject"},
	{"local all all md5", "local *all *all md5"},
	{"local all all scram-sha-256", "local *all *all scram-sha-256"},
	{"local all all password", "local *all *all password"},
	{"local all all peer", "local *all *all peer"},
	{"local all all ident", "local *all *all peer"},
	{"local all all passthrough", "local *all *all passthrough"},
	{"local all all peer map=m", "local *all *all peer map:m"},
	{"local all all ident map=m", "local *all *all peer map:m"},
	{"local all all peer \"map=a b\"", "local *all *all peer map:a b"},
	{"local all all peer map=a map=b", "local *all *all peer map:b"},
	{"local all all peer map=a map=", "local *all *all peer"},
	{"local all all peer map=a,map=b", "local *all *all peer map:b"},
	/* connections and addresses */
	{"host all all all trust", "host *all *all all trust"},
	{"host all all samehost trust", "host *all *all samehost trust"},
	{"host all all samenet trust", "host *all *all samenet trust"},
	{"hostssl all all all trust", "hostssl *all *all all trust"},
	{"hostnossl all all all trust", "hostnossl *all *all all trust"},
	{"hostgssenc all all all trust", "hostgssenc *all *all all trust"},
	{"hostnogssenc all all all trust", "hostnogssenc *all *all all trust"},
	{"host all all 10.1.2.3/32 trust", "host *all *all 10.1.2.3/255.255.255.255 trust"},
	{"host all all 10.1.2.3/8 trust", "host *all *all 10.1.2.3/255.0.0.0 trust"},
	{"host all all 10.1.2.3/9 trust", "host *all *all 10.1.2.3/255.128.0.0 trust"},
	{"host all all 0.0.0.0/0 trust", "host *all *all 0.0.0.0/0.0.0.0 trust"},
	{"host all all 10.0.0.0 255.0.0.0 trust", "host *all *all 10.0.0.0/255.0.0.0 trust"},
	{"host all all 10.0.0.0 255.0.255.0 trust", "host *all *all 10.0.0.0/255.0.255.0 trust"},
	{"host all all \"10.0.0.0/8\" trust", "host *all *all 10.0.0.0/255.0.0.0 trust"},
	{"host all all ::1/128 trust",
	 "host *all *all ::1/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff trust"},
	{"host all all ::/0 trust", "host *all *all ::/:: trust"},
	{"host all all fe80::/10 trust", "host *all *all fe80::/ffc0:: trust"},
	{"host all all 2001:db8:: ffff:ffff:: trust", "host *all *all 2001:db8::/ffff:ffff:: trust"},
	/* certificates */
	{"hostssl all all all cert", "hostssl *all *all all cert full"},
	{"hostssl all all all cert map=m", "hostssl *all *all all cert full map:m"},
	{"hostssl all all all cert clientcert=verify-full", "hostssl *all *all all cert full"},
	{"hostssl all all all cert clientname=DN", "hostssl *all *all all cert full dn"},
	{"hostssl all all all cert clientname=DN clientname=CN", "hostssl *all *all all cert full"},
	{"hostssl all all all md5 clientcert=verify-ca", "hostssl *all *all all md5 ca"},
	{"hostssl all all all md5 clientcert=verify-full clientname=DN",
	 "hostssl *all *all all md5 full dn"},
	{"hostssl all all all passthrough", "hostssl *all *all all passthrough"},
	{"host all all all passthrough", "host *all *all all passthrough"},
	/* names and keywords */
	{"local a,b,c x,y trust", "local =a,=b,=c =x,=y trust"},
	{"local a, b,\tc x trust", "local =a,=b,=c =x trust"},
	{"local ,a,,b, x u trust", "local =a,=b,=x =u trust"},
	{"local a ,b trust", "local =a =b trust"},
	{"local sameuser,replication,all all trust", "local *sameuser,*replication,*all *all trust"},
	{"local \"all\",\"sameuser\",\"replication\" \"all\" trust",
	 "local =all,=sameuser,=replication =all trust"},
	{"local a\"ll\" all trust", "local *all *all trust"},
	{"local \"a\"ll all trust", "local =all *all trust"},
	{"local All sameuser,replication trust", "local =All =sameuser,=replication trust"},
	{"local samehost samerole trust", "local =samehost =samerole trust"},
	{"local \"samerole\",\"samegroup\" \"+role\" trust",
	 "local =samerole,=samegroup =+role trust"},
	{"local +a a+ trust", "local =+a =a+ trust"},
	{"local \"a b,c#d\" \"x\"\"y\" trust", "local =a b,c#d =x\"y trust"},
	{"local \"\"\"a\" \"\"\"\" trust", "local =\"a =\" trust"},
	{"local \"\" a\"\"b trust", "local = =ab trust"},
	{"local \"@f\" @ trust", "local =@f =@ trust"},
	{"local /^a.*b$ \"/^x,y\" trust", "local ~/^a.*b$ ~/^x,y trust"},
	{"local a,/b,\"/c\" / trust", "local =a,~/b,~/c ~/ trust"},
	{"local caf\xc3\xa9 all trust", "local =caf\xc3\xa9 *all trust"},
	{"\"local\" all all \"trust\"", "local *all *all trust"},
	/* blanks, comments, lines that go on */
	{"  local\tall \t all\ttrust  ", "local *all *all trust"},
	{"local all all trust # comment", "local *all *all trust"},
	{"local all all trust#comment", "local *all *all trust"},
	{"local all all trust\r", "local *all *all trust"},
	{"local all \\\nall \\\n\\\ntrust", "local *all *all trust"},
	{"local all al\\\nl trust", "local *all *all trust"},
	{"local all \"x \\\ny\" trust", "local *all =x y trust"},
	{"local all all\\\r\n trust", "local *all *all trust"},
	{"local all all trust\\", "local *all *all trust"},
	{"local a\\b c\\ trust", "local =a\\b =c\\ trust"},
	{"local all all trust\\\\\n", NULL},
};

static void test_read_as(void **state)
{
	char got[500];
	struct hba *h;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(read_as); i++) {
		if (!read_as[i].want) {
			refuse(read_as[i].text, "f:1: ", "trust\\");
			continue;
		}
		h = load(read_as[i].text);
		assert_int_equal(h->n, 1);
		assert_int_equal(h->rules[0].line, 1);
		assert_string_equal(h->rules[0].file, "f");
		got[0] = '\0';
		put_rule(got, sizeof(got), &h->rules[0]);
		if (strcmp(got, read_as[i].want) != 0)
			fail_msg("%s\nis read as  %s\nand not as  %s", read_as[i].text, got,
				 read_as[i].want);
		hba_free(h);
	}
}

static void test_lines(void **state)
{
	static const char text[] = "# first\n\nlocal a all trust\n  # \\\nlocal hidden all trust\n"
				   "local b \\\n\\\nall trust\r\n\tlocal c all trust\n\\\n\n"
				   "local d all trust";
	static const int lines[] = {3, 6, 9, 12};
	struct hba *h = load(text);
	size_t i;

	(void)state;
	assert_int_equal(h->n, COUNT(lines));
	for (i = 0; i < h->n; i++) {
		assert_int_equal(h->rules[i].line, lines[i]);
		assert_int_equal(h->rules[i].dbs.at[0].text[0], "abcd"[i]);
	}
	assert_ptr_equal(hba_with_method(h, AUTH_TRUST), &h->rules[0]);
	assert_null(hba_with_method(h, AUTH_CERT));
	hba_free(h);
}

/* --- what is refused --------------------------------------------------------------- */

#define F1 "f:1: "
static const struct {
	const char *text, *say;
} refused[] = {
	{"foo all all trust", "\"foo\" is no kind of connection"},
	{"LOCAL all all trust", "no kind of connection"},
	{"local,host all all trust", "exactly one word is expected for the kind of connection"},
	{"include a b", "\"include\" is no kind of connection"},
	{"include", "\"include\" is no kind of connection"},
	{"include x", "other files are not allowed here"},
	{"include_if_exists x", "other files are not allowed here"},
	{"include_dir x", "other files are not allowed here"},
	{"include a,b", "exactly one word is expected for the file"},
	{"include,x a", "exactly one word is expected for include"},
	{"local @x all trust", "other files are not allowed here (\"x\")"},
	{"local @\"x y\" all trust", "other files are not allowed here (\"x y\")"},
	{"local", "the line ends where the databases"},
	{"local all", "the line ends where the users"},
	{"local all all", "the line ends where the method"},
	{"local all # all trust", "the line ends where the users"},
	{"local all all,#comment\\\n trust", "the line ends where the method"},
	{"host all all", "the line ends where the address"},
	{"host all all all", "the line ends where the method"},
	{"host all all 10.0.0.0", "the line ends where the mask"},
	{"host all all 10.0.0.0 255.0.0.0", "the line ends where the method"},
	{"local all all trust,md5", "exactly one word is expected for the method"},
	{"local \"all all trust", "a double quote is not closed"},
	{"local all all tr\"ust", "a double quote is not closed"},
	/* addresses */
	{"host all all 10.0.0.0 trust", "\"trust\" is not a mask"},
	{"host all all 10.0.0.0 ffff:: trust", "\"ffff::\" is not a mask"},
	{"host all all ::1 255.0.0.0 trust", "\"255.0.0.0\" is not a mask"},
	{"host all all 10.0.0.0 8 trust", "\"8\" is not a mask"},
	{"host all all 10.0.0.0/33 trust", "a number from 0 to 32"},
	{"host all all 10.0.0.0/ trust", "a number from 0 to 32"},
	{"host all all 10.0.0.0/8x trust", "a number from 0 to 32"},
	{"host all all 10.0.0.0/+8 trust", "a number from 0 to 32"},
	{"host all all 10.0.0.0/4294967304 trust", "a number from 0 to 32"},
	{"host all all 10.0.0.0/255.0.0.0 trust", "a number from 0 to 32"},
	{"host all all ::/129 trust", "a number from 0 to 128"},
	{"host all all 10/8 trust", "write all four numbers"},
	{"host all all 127.1/32 trust", "write all four numbers"},
	{"host all all 010.0.0.1/32 trust", "write all four numbers"},
	{"host all all 0x7f000001/32 trust", "write all four numbers"},
	{"host all all 10.0.0.256/32 trust", "write all four numbers"},
	{"host all all fe80::1%eth0/64 trust", "without a zone"},
	{"host all all ::ffff:10.0.0.0/104 trust", "IPv4 address in IPv6's form"},
	{"host all all db.example.com trust", "host names are not supported"},
	{"host all all .example.com trust", "host names are not supported"},
	{"host all all localhost trust", "host names are not supported"},
	{"host all all face trust", "host names are not supported"},
	{"host all all \"samenet\" trust", "host names are not supported"},
	{"host all all \"all\" trust", "host names are not supported"},
	{"host all all db.example.com/32 trust", "host names are not supported"},
	{"host all all 10.0.0.0/8,11.0.0.0/8 trust", "exactly one word is expected for the address"},
	{"host all all 10.0.0.0 255.0.0.0,255.0.0.0 trust", "exactly one word is expected for the mask"},
	{"local all all 127.0.0.1/32 trust", "\"127.0.0.1/32\" is no method"},
	/* names that need a look at the servers */
	{"local samerole all trust", "samerole is not supported"},
	{"local a,samegroup all trust", "samegroup is not supported"},
	{"local all +admins trust", "+admins is not supported"},
	{"local all a,+admins trust", "+admins is not supported"},
	{"local /( all trust", "the regular expression \"(\""},
	{"local all /a** trust", "the regular expression \"a**\""},
	{"local all /\\y trust", "the regular expression \"\\y\""},
	/* methods */
	{"local all all foo", "\"foo\" is no method"},
	{"local all all hba", "\"hba\" is no method"},
	{"local all all any", "\"any\" is no method"},
	{"local all all plain", "\"plain\" is no method"},
	{"local all all TRUST", "\"TRUST\" is no method"},
	{"local all all ?", "\"?\" is no method"},
	{"local all all ldap", "the method ldap is PostgreSQL's"},
	{"local all all gss", "the method gss is PostgreSQL's"},
	{"local all all sspi", "the method sspi is PostgreSQL's"},
	{"local all all pam", "the method pam is PostgreSQL's"},
	{"local all all radius", "the method radius is PostgreSQL's"},
	{"local all all bsd", "the method bsd is PostgreSQL's"},
	{"local all all oauth", "the method oauth is PostgreSQL's"},
	{"host all all all ident", "the method ident on host lines"},
	{"host all all all peer", "peer is for local lines only"},
	{"hostssl all all all peer", "peer is for local lines only"},
	{"host all all all cert", "cert is for hostssl lines only"},
	{"hostnossl all all all cert", "cert is for hostssl lines only"},
	{"local all all cert", "cert is for hostssl lines only"},
	{"hostnossl all all all passthrough", "cannot stand on a hostnossl line"},
	/* options */
	{"local all all trust map=a", "map= is for the methods peer and cert only"},
	{"hostssl all all all md5 map=a", "map= is for the methods peer and cert only"},
	{"local all all trust foo", "\"foo\" is no option"},
	{"local all all trust ldapbindpasswd=secret", "\"ldapbindpasswd\" is no option"},
	{"local all all trust map", "\"map\" is no option"},
	{"host all all all md5 clientcert=verify-ca", "clientcert= is for hostssl lines only"},
	{"local all all md5 clientcert=verify-ca", "clientcert= is for hostssl lines only"},
	{"hostnossl all all all md5 clientname=CN", "clientname= is for hostssl lines only"},
	{"hostssl all all all md5 clientcert=1", "clientcert=1 is unknown"},
	{"hostssl all all all md5 clientcert=", "allowed: verify-ca, verify-full"},
	{"hostssl all all all md5 clientname=cn", "clientname=cn is unknown"},
	{"hostssl all all all cert clientcert=verify-ca", "less than the method cert demands"},
	{"hostssl all all all cert clientcert=no-verify", "clientcert=no-verify is unknown"},
};

static void test_refused(void **state)
{
	char text[300];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(refused); i++) {
		refuse(refused[i].text, F1, refused[i].say);
		/* and where it stands */
		snprintf(text, sizeof(text), "local all all trust\n#\n\n%s\nlocal all all trust\n",
			 refused[i].text);
		if (!strstr(refused[i].say, "not closed"))
			refuse(text, "f:4: ", refused[i].say);
	}
	refuse("", "f: ", "no rule");
	refuse("# nothing\n\n", "f: ", "no rule");
	refuse(",\n , ,\n", "f: ", "no rule");
}

static void test_no_secret_in_errors(void **state)
{
	static const char text[] = "local all all trust ldapbindpasswd=hunter2 x\n";
	struct hba *h = NULL;
	struct err e = {.text = ""};

	(void)state;
	assert_int_equal(hba_read_mem("f", text, strlen(text), NULL, 0, &h, &e), -1);
	assert_non_null(strstr(e.text, "ldapbindpasswd"));
	assert_null(strstr(e.text, "hunter2"));
}

static void test_nul(void **state)
{
	static const char text[] = "local all a\0b trust\n", tail[] = "local all all trust\n\0";
	struct hba *h = NULL;
	struct err e = {.text = ""};

	(void)state;
	assert_int_equal(hba_read_mem("f", text, sizeof(text) - 1, NULL, 0, &h, &e), -1);
	assert_string_equal(e.text, "f:1: a NUL byte is not allowed");
	assert_int_equal(hba_read_mem("f", tail, sizeof(tail) - 1, NULL, 0, &h, &e), -1);
	assert_string_equal(e.text, "f:2: a NUL byte is not allowed");
	hba_free(load_bytes(tail, sizeof(tail) - 2));
}

/* --- which rule holds ---------------------------------------------------------------- */

enum { TCP = 0, TLS, LOCAL, PHYSICAL };

struct ask {
	const char *addr;              /* NULL: by a unix socket */
	int how;
	const char *db, *user;
	int line;                      /* 0: none */
};

static void ask(const struct hba *h, const struct ask *a)
{
	struct hba_who who = {
		.addr = a->addr ? sock(a->addr) : NULL,
		.is_local = !a->addr,
		.is_tls = a->how == TLS,
		.is_physical = a->how == PHYSICAL,
		.db = a->db,
		.user = a->user,
	};
	const struct hba_rule *r = hba_find(h, &who);
	int line = r ? r->line : 0;

	if (line != a->line)
		fail_msg("%s %d db=%s user=%s: line %d, not %d", a->addr ? a->addr : "local", a->how,
			 a->db, a->user, line, a->line);
}

static void ask_all(const char *text, const struct ask *asks, size_t n)
{
	struct hba *h = load(text);
	size_t i;

	for (i = 0; i < n; i++)
		ask(h, &asks[i]);
	hba_free(h);
}

static void test_connections(void **state)
{
	static const char text[] = "hostgssenc all all all trust\n"    /* 1: never */
				   "local l all trust\n"               /* 2 */
				   "hostssl s all all trust\n"         /* 3 */
				   "hostnossl n all all trust\n"       /* 4 */
				   "hostnogssenc g all all trust\n"    /* 5 */
				   "host all all all reject\n";        /* 6 */
	static const struct ask asks[] = {
		{NULL, LOCAL, "l", "u", 2}, {NULL, LOCAL, "s", "u", 0}, {NULL, LOCAL, "n", "u", 0},
		{NULL, LOCAL, "g", "u", 0}, {NULL, LOCAL, "x", "u", 0}, {NULL, TLS, "s", "u", 0},
		{"10.0.0.1", TCP, "l", "u", 6}, {"10.0.0.1", TCP, "s", "u", 6},
		{"10.0.0.1", TCP, "n", "u", 4}, {"10.0.0.1", TCP, "g", "u", 5},
		{"10.0.0.1", TLS, "l", "u", 6}, {"10.0.0.1", TLS, "s", "u", 3},
		{"10.0.0.1", TLS, "n", "u", 6}, {"10.0.0.1", TLS, "g", "u", 5},
		{"::1", TLS, "s", "u", 3}, {"::1", TCP, "n", "u", 4}, {"fe80::1", TCP, "x", "u", 6},
	};

	(void)state;
	ask_all(text, asks, COUNT(asks));
}

static void test_addresses(void **state)
{
	static const char text[] = "host all all 10.1.2.3/32 trust\n"          /* 1 */
				   "host all all 10.1.0.0/16 trust\n"          /* 2 */
				   "host all all 10.99.0.0 255.254.0.0 trust\n" /* 3: 98 and 99 */
				   "host all all 12.0.0.7 255.0.0.255 trust\n" /* 4 */
				   "host all all 2001:db8::1/128 trust\n"      /* 5 */
				   "host all all 2001:db8:0:8000::/49 trust\n" /* 6 */
				   "host all all samehost trust\n"             /* 7 */
				   "host all all samenet trust\n"              /* 8 */
				   "host all all ::/1 trust\n"                 /* 9 */
				   "host six all ::/0 trust\n"                 /* 10 */
				   "host four all 0.0.0.0/0 trust\n";          /* 11 */
	static const struct ask asks[] = {
		{"10.1.2.3", TCP, "d", "u", 1}, {"10.1.2.4", TCP, "d", "u", 2},
		{"10.1.2.2", TCP, "d", "u", 2}, {"10.1.255.255", TCP, "d", "u", 2},
		{"10.2.0.0", TCP, "d", "u", 0}, {"10.0.255.255", TCP, "d", "u", 0},
		{"10.98.0.1", TCP, "d", "u", 3}, {"10.99.255.1", TCP, "d", "u", 3},
		{"10.97.0.1", TCP, "d", "u", 0}, {"10.100.0.1", TCP, "d", "u", 0},
		{"12.200.3.7", TCP, "d", "u", 4}, {"12.200.3.8", TCP, "d", "u", 0},
		{"2001:db8::1", TCP, "d", "u", 5}, {"2001:db8::2", TCP, "d", "u", 9},
		{"2001:db8:0:8000::5", TCP, "d", "u", 6}, {"2001:db8:0:ffff::5", TCP, "d", "u", 6},
		{"2001:db8:0:7fff::5", TCP, "d", "u", 9}, {"2001:db8:1:8000::5", TCP, "d", "u", 9},
		{"127.0.0.1", TCP, "d", "u", 7}, {"192.168.7.5", TCP, "d", "u", 7},
		{"::1", TCP, "d", "u", 7}, {"2001:db8:7::5", TCP, "d", "u", 7},
		{"127.3.0.1", TCP, "d", "u", 8}, {"192.168.7.6", TCP, "d", "u", 8},
		{"192.168.8.5", TCP, "d", "u", 0}, {"2001:db8:7::6", TCP, "d", "u", 8},
		{"2001:db8:7:1::6", TCP, "d", "u", 9}, {"::2", TCP, "d", "u", 9},
		{"8000::", TCP, "d", "u", 0}, {"7fff::", TCP, "d", "u", 9},
		{"8000::", TCP, "six", "u", 10}, {"8.8.8.8", TCP, "six", "u", 0},
		{"8.8.8.8", TCP, "four", "u", 11}, {"8000::", TCP, "four", "u", 0},
		/* IPv4 that came by an IPv6 socket */
		{"::ffff:10.1.2.3", TCP, "d", "u", 1}, {"::ffff:10.1.9.9", TCP, "d", "u", 2},
		{"::ffff:127.0.0.1", TCP, "d", "u", 7}, {"::ffff:192.168.7.6", TCP, "d", "u", 8},
		{"::ffff:8.8.8.8", TCP, "d", "u", 0}, {"::ffff:8.8.8.8", TCP, "six", "u", 0},
		{"::ffff:8.8.8.8", TCP, "four", "u", 11},
		{"::fffe:10.1.2.3", TCP, "d", "u", 9}, {"::10.1.2.3", TCP, "d", "u", 9},
		{NULL, LOCAL, "four", "u", 0},
	};

	(void)state;
	ask_all(text, asks, COUNT(asks));
}

static void test_names(void **state)
{
	static const char text[] = "local \"all\",\"sameuser\",\"replication\" all trust\n" /* 1 */
				   "local sameuser a,b trust\n"               /* 2 */
				   "local app,app2 a,\"all\" trust\n"         /* 3 */
				   "local /^r[0-9]+$ /_ro$ trust\n"           /* 4 */
				   "local /x all trust\n"                     /* 5 */
				   "local \"/y,z\" \"+g\" trust\n"            /* 6 */
				   "local replication rep trust\n"            /* 7 */
				   "local any all trust\n"                    /* 8 */
				   "local \"\" \"\" trust\n"                  /* 9 */
				   "local /^.$ all trust\n";                  /* 10 */
	static const struct ask asks[] = {
		{NULL, LOCAL, "all", "u", 1}, {NULL, LOCAL, "sameuser", "u", 1},
		{NULL, LOCAL, "replication", "u", 1}, {NULL, LOCAL, "replication", "rep", 1},
		{NULL, LOCAL, "a", "a", 2}, {NULL, LOCAL, "b", "b", 2}, {NULL, LOCAL, "c", "c", 10},
		{NULL, LOCAL, "A", "a", 10}, {NULL, LOCAL, "app", "a", 3}, {NULL, LOCAL, "app2", "a", 3},
		{NULL, LOCAL, "app", "all", 3}, {NULL, LOCAL, "app", "b", 0},
		{NULL, LOCAL, "app3", "a", 0}, {NULL, LOCAL, "ap", "a", 0}, {NULL, LOCAL, "App", "a", 0},
		{NULL, LOCAL, "r17", "joe_ro", 4}, {NULL, LOCAL, "r17", "joe_rox", 0},
		{NULL, LOCAL, "r17b", "joe_ro", 0}, {NULL, LOCAL, "r", "joe_ro", 10},
		{NULL, LOCAL, "axb", "u", 5}, {NULL, LOCAL, "aXb", "u", 0},
		{NULL, LOCAL, "ay,zb", "+g", 6}, {NULL, LOCAL, "ay,zb", "g", 0},
		{NULL, LOCAL, "/y,z", "+g", 6}, {NULL, LOCAL, "any", "u", 8},
		{NULL, LOCAL, "", "", 9}, {NULL, LOCAL, "\xe9", "u", 10}, {NULL, LOCAL, "\n", "u", 10},
		/* replication without a database: its keyword, and nothing else */
		{NULL, PHYSICAL, "", "rep", 7}, {NULL, PHYSICAL, "rep", "rep", 7},
		{NULL, PHYSICAL, "any", "u", 0}, {NULL, PHYSICAL, "replication", "u", 0},
		{NULL, PHYSICAL, "all", "u", 0}, {NULL, PHYSICAL, "a", "a", 0},
		{NULL, PHYSICAL, "axb", "a", 0},
	};
	static const struct ask physical[] = {
		{NULL, PHYSICAL, "x", "u", 0}, {NULL, LOCAL, "x", "u", 1},
		{"10.0.0.1", PHYSICAL, "x", "rep", 3}, {"10.0.0.1", PHYSICAL, "x", "u", 0},
	};

	(void)state;
	ask_all(text, asks, COUNT(asks));
	ask_all("local all,sameuser,/. all trust\nhost all all all trust\n"
		"host x,replication rep all reject\n", physical, COUNT(physical));
}

static void test_first_wins(void **state)
{
	static const char text[] = "host all bad all reject\nhost all all 10.0.0.0/8 md5\n"
				   "host all all 10.1.0.0/16 trust\nhost all bad all trust\n";
	static const struct ask asks[] = {
		{"10.1.0.1", TCP, "d", "bad", 1}, {"10.1.0.1", TCP, "d", "good", 2},
		{"11.1.0.1", TCP, "d", "good", 0}, {"11.1.0.1", TCP, "d", "bad", 1},
	};
	struct hba *h = load(text);

	(void)state;
	assert_int_equal(h->rules[0].method, AUTH_REJECT);
	assert_ptr_equal(hba_with_method(h, AUTH_MD5), &h->rules[1]);
	hba_free(h);
	ask_all(text, asks, COUNT(asks));
}

/* What is not known matches nothing, not even `all`. */
static void test_nobody(void **state)
{
	struct sockaddr_storage any = {.ss_family = AF_UNSPEC};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct hba *h = load("host all all all trust\nhost all all 0.0.0.0/0 trust\n"
			     "host all all ::/0 trust\nlocal all all trust\n");
	struct hba_who who = {.db = "d", .user = "u"};
	char name[HBA_NAME_MAX + 2];

	(void)state;
	assert_null(hba_find(h, &who));
	who.addr = (struct sockaddr *)&any;
	assert_null(hba_find(h, &who));
	who.addr = (struct sockaddr *)&un;
	assert_null(hba_find(h, &who));
	who.is_local = true;
	assert_non_null(hba_find(h, &who));
	who.addr = NULL;
	assert_non_null(hba_find(h, &who));

	memset(name, 'a', sizeof(name));
	name[HBA_NAME_MAX + 1] = '\0';
	who.user = name;
	assert_null(hba_find(h, &who));
	who.user = "u";
	who.db = name;
	assert_null(hba_find(h, &who));
	who.user = name + 1;
	who.db = name + 1;
	assert_non_null(hba_find(h, &who));
	hba_free(h);
}

static void test_own_of_this_machine(void **state)
{
	struct net *list, one;
	struct sockaddr_in lo = {.sin_family = AF_INET, .sin_addr = {htonl(0x7f000001)}};
	struct err e;
	size_t n, i, hit = 0;

	(void)state;
	assert_int_equal(nets_own(&list, &n, &e), 0);
	assert_true(net_of((struct sockaddr *)&lo, &one));
	for (i = 0; i < n; i++)
		hit += net_is(&list[i], &one) && net_has(&list[i], &one);
	assert_int_equal(hit, 1);
	free(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_as), cmocka_unit_test(test_lines),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_no_secret_in_errors),
		cmocka_unit_test(test_nul), cmocka_unit_test(test_connections),
		cmocka_unit_test(test_addresses), cmocka_unit_test(test_names),
		cmocka_unit_test(test_first_wins), cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_own_of_this_machine),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
