/* tests/unit/test_addr.c - host and port lists.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cmocka.h>

#include "conf/addr.h"

/* Parses, prints all sockets separated by blanks and compares. want NULL:
 * refused, and the sentence contains word. */
static void check(const char *hosts, const char *ports, const char *want, const char *word)
{
	char text[1000] = "", one[200];
	struct addr *list = NULL;
	struct err e = {.text = ""};
	size_t n = 0, i, len = 0;
	int ret = addr_list(hosts, ports, 5432, &list, &n, &e);

	for (i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i ? " " : "",
					addr_print(&list[i].sock.sa, list[i].sock_len, one,
						   sizeof(one)));
	addr_list_free(list, n);
	if (want) {
		assert_int_equal(ret, 0);
		assert_string_equal(text, want);
	} else {
		assert_int_equal(ret, -1);
		assert_int_equal(n, 0);
		assert_null(list);
		assert_non_null(word);
		if (!strstr(e.text, word))
			fail_msg("said: %s; expected: %s", e.text, word);
	}
}

static void test_lists(void **state)
{
	char path[200];

	(void)state;
	check("127.0.0.1", NULL, "127.0.0.1:5432", NULL);
	check("127.0.0.1", "", "127.0.0.1:5432", NULL);
	check("127.0.0.1 , ::1,/run/pg", "6", "127.0.0.1:6 [::1]:6 unix:/run/pg/.s.PGSQL.6", NULL);
	check("127.0.0.1,::1,/run/pg", "1, 2 ,65535",
	      "127.0.0.1:1 [::1]:2 unix:/run/pg/.s.PGSQL.65535", NULL);
	check("127.0.0.1,127.0.0.1", ",7", "127.0.0.1:5432 127.0.0.1:7", NULL);
	check("127.0.0.1,127.0.0.2", "1,2,3", NULL, "3 ports for 2 hosts");
	check("127.0.0.1", "1,2", NULL, "2 ports for 1 hosts");
	check("127.0.0.1", "0", NULL, "1 to 65535");
	check("127.0.0.1", "65536", NULL, "1 to 65535");
	check("127.0.0.1", "99999999999999999999", NULL, "1 to 65535");
	check("127.0.0.1", "1x", NULL, "1 to 65535");
	check("127.0.0.1", "-1", NULL, "1 to 65535");
	check("127.0.0.1", "1 2", NULL, "1 to 65535");
	check("127.0.0.1,", NULL, NULL, "empty name");
	check(",", NULL, NULL, "empty name");
	check(" ", NULL, NULL, "empty name");
	check("a..b", NULL, NULL, "neither an address nor a name");
	check(".", NULL, NULL, "neither an address nor a name");
	check(".a", NULL, NULL, "neither an address nor a name");
	check("a b", NULL, NULL, "neither an address nor a name");
	check("-a", NULL, NULL, "neither an address nor a name");
	check("a-.b", NULL, NULL, "neither an address nor a name");
	check("a-", NULL, NULL, "neither an address nor a name");
	check("b\xc3\xbc" "cher.example", NULL, NULL, "xn--");
	check("10.0.0.256", NULL, NULL, "neither an address nor a name");
	check("a.1", NULL, NULL, "neither an address nor a name");
	check("::1::", NULL, NULL, "neither an address nor a name");
	check("a:5432", NULL, NULL, "neither an address nor a name");
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	check(path, NULL, NULL, "too long");
	path[93] = '\0';               /* + "/.s.PGSQL.5432" and NUL = 108 */
	check(path, "65535", NULL, "too long");
	check(path, "543", "unix:/" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/.s.PGSQL.543", NULL);
}

static void test_names(void **state)
{
	struct addr *list;
	struct err e;
	size_t n;

	(void)state;
	assert_int_equal(addr_list("127.0.0.1,::1,/run", NULL, 1, &list, &n, &e), 0);
	assert_string_equal(list[0].name, "127.0.0.1:1");
	assert_string_equal(list[1].name, "[::1]:1");
	assert_string_equal(list[2].name, "/run:1");
	assert_string_equal(list[2].host, "/run");
	assert_int_equal(list[2].port, 1);
	addr_list_free(list, n);
	assert_int_equal(addr_list(NULL, NULL, 1, &list, &n, &e), 0);
	assert_string_equal(list[0].name, "localhost:1");
	assert_int_equal(list[0].sock_len, 0);
	assert_true(addr_is_localhost(list[0].host));
	addr_list_free(list, n);
	assert_true(addr_is_localhost("LocalHost."));
	assert_false(addr_is_localhost("localhost.example"));
	addr_list_free(NULL, 0);
}

/* Names stay names, and nobody is asked for them. */
static void test_unresolved(void **state)
{
	static const char longest[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	struct addr *list;
	char text[300];
	struct err e;
	size_t n, i;

	(void)state;
	assert_int_equal(addr_list("no.such.name, a_b-c, x1.example., 127.0.0.1,1a", "1,2,3,4,5", 9,
				   &list, &n, &e), 0);
	assert_int_equal(n, 5);
	for (i = 0; i < n; i++)
		assert_int_equal(list[i].sock_len > 0, i == 3);
	assert_string_equal(list[0].name, "no.such.name:1");
	assert_string_equal(list[2].host, "x1.example.");
	assert_int_equal(list[2].port, 3);
	addr_list_free(list, n);
	assert_int_equal(addr_list(longest, NULL, 9, &list, &n, &e), 0);
	addr_list_free(list, n);
	snprintf(text, sizeof(text), "a%s", longest);
	assert_int_equal(addr_list(text, NULL, 9, &list, &n, &e), -1);
	snprintf(text, sizeof(text), "%s.%s.%s.%.61s", longest, longest, longest, longest);
	assert_int_equal(strlen(text), 253);
	assert_int_equal(addr_list(text, NULL, 9, &list, &n, &e), 0);
	addr_list_free(list, n);
	snprintf(text, sizeof(text), "%s.%s.%s.%.62s", longest, longest, longest, longest);
	assert_int_equal(addr_list(text, NULL, 9, &list, &n, &e), -1);
}

static void test_listen(void **state)
{
	struct addr *list;
	struct err e;
	char text[100];
	size_t n;

	(void)state;
	assert_int_equal(addr_listen_list(NULL, 1, &list, &n, &e), 0);
	assert_int_equal(n, 0);
	assert_int_equal(addr_listen_list("", 1, &list, &n, &e), 0);
	assert_int_equal(n, 0);
	assert_int_equal(addr_listen_list("*, 127.0.0.1", 0, &list, &n, &e), 0);
	assert_int_equal(n, 3);
	assert_string_equal(addr_print(&list[0].sock.sa, list[0].sock_len, text, sizeof(text)),
			    "0.0.0.0:0");
	assert_string_equal(addr_print(&list[1].sock.sa, list[1].sock_len, text, sizeof(text)),
			    "[::]:0");
	addr_list_free(list, n);
	assert_int_equal(addr_listen_list("127.0.0.1,", 1, &list, &n, &e), -1);
	assert_int_equal(addr_listen_list("127.0.0.1,/run", 1, &list, &n, &e), -1);
	assert_int_equal(addr_listen_list_as(ADDR_NUMERIC, "127.0.0.1,x", 1, &list, &n, &e), -1);
	assert_null(list);
}

static bool loopback(int family, const char *text)
{
	struct sockaddr_storage s;

	memset(&s, 0, sizeof(s));
	s.ss_family = (sa_family_t)family;
	if (family == AF_INET)
		inet_pton(family, text, &((struct sockaddr_in *)&s)->sin_addr);
	if (family == AF_INET6)
		inet_pton(family, text, &((struct sockaddr_in6 *)&s)->sin6_addr);
	return addr_is_loopback((struct sockaddr *)&s);
}

static void test_loopback(void **state)
{
	(void)state;
	assert_true(loopback(AF_INET, "127.0.0.1"));
	assert_true(loopback(AF_INET, "127.255.255.255"));
	assert_false(loopback(AF_INET, "128.0.0.1"));
	assert_false(loopback(AF_INET, "126.255.255.255"));
	assert_false(loopback(AF_INET, "0.0.0.0"));
	assert_false(loopback(AF_INET, "1.0.0.127"));
	assert_true(loopback(AF_INET6, "::1"));
	assert_false(loopback(AF_INET6, "::"));
	assert_false(loopback(AF_INET6, "::2"));
	assert_true(loopback(AF_INET6, "::ffff:127.0.0.1"));
	assert_false(loopback(AF_INET6, "::ffff:10.0.0.1"));
	assert_true(loopback(AF_UNIX, ""));
	assert_false(loopback(AF_UNSPEC, ""));
}

static void test_unix(void **state)
{
	size_t head = offsetof(struct sockaddr_un, sun_path);
	struct sockaddr_un un;
	char text[200], dir[100];
	socklen_t len;
	struct err e;

	(void)state;
	assert_int_equal(addr_unix("/run", 5432, &un, &len, &e), 0);
	assert_int_equal(un.sun_family, AF_UNIX);
	assert_string_equal(un.sun_path, "/run/.s.PGSQL.5432");
	assert_string_equal(addr_print((struct sockaddr *)&un, len, text, sizeof(text)),
			    "unix:/run/.s.PGSQL.5432");
	/* as libpq: a zero for the @, and not one byte behind the name */
	assert_int_equal(addr_unix("@run", 1, &un, &len, &e), 0);
	assert_int_equal(len, head + strlen("@run/.s.PGSQL.1"));
	assert_memory_equal(un.sun_path, "\0run/.s.PGSQL.1", len - head);
	assert_string_equal(addr_print((struct sockaddr *)&un, len, text, sizeof(text)),
			    "unix:@run/.s.PGSQL.1");
	memset(dir, '@', sizeof(dir));
	dir[97] = '\0';
	assert_int_equal(addr_unix(dir, 1, &un, &len, &e), -1);
	assert_non_null(strstr(e.text, "too long"));
	dir[96] = '\0';
	assert_int_equal(addr_unix(dir, 1, &un, &len, &e), 0);
	assert_int_equal(len, head + 107);
}

static void test_print(void **state)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_in in4 = {.sin_family = AF_INET};
	char text[200];

	(void)state;
	/* A peer without a name, an abstract one, and one that fills the field. */
	assert_string_equal(addr_print((struct sockaddr *)&un, sizeof(sa_family_t), text,
				       sizeof(text)), "unix:");
	memcpy(un.sun_path, "\0name", 5);
	assert_string_equal(addr_print((struct sockaddr *)&un, sizeof(sa_family_t) + 5, text,
				       sizeof(text)), "unix:@name");
	memset(un.sun_path, 'x', sizeof(un.sun_path));
	addr_print((struct sockaddr *)&un, sizeof(un), text, sizeof(text));
	assert_int_equal(strlen(text), 5 + sizeof(un.sun_path));
	assert_string_equal(addr_print((struct sockaddr *)&in4, sizeof(sa_family_t), text,
				       sizeof(text)), "unknown");
	assert_string_equal(addr_print((struct sockaddr *)&in4, sizeof(in4), text, 5), "0.0.");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),    cmocka_unit_test(test_names),
		cmocka_unit_test(test_unresolved),
		cmocka_unit_test(test_listen),   cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_unix),     cmocka_unit_test(test_print),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
