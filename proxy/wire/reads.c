/* proxy/wire/reads.c - see reads.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "wire/reads.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "wire/lexer.h"

/* What may stand in front of a parenthesis: key words, types, and functions of
 * PostgreSQL and CockroachDB that change nothing and hang on nothing but their
 * arguments, the data and the time. Sorted. */
static const char *const harmless[] = {
	"abs", "acos", "age", "all", "and", "any", "array", "array_agg", "array_append",
	"array_cat", "array_length", "array_lower", "array_position", "array_prepend",
	"array_remove", "array_to_string", "array_upper", "as", "ascii", "asin", "atan", "atan2",
	"avg", "between", "bit", "bit_length", "bool_and", "bool_or", "btrim", "by", "cardinality",
	"case", "cast", "ceil", "ceiling", "char", "char_length", "character", "chr", "clock_timestamp",
	"coalesce", "concat", "concat_ws", "corr", "cos", "count", "cume_dist", "current_database",
	"current_date", "current_schema", "current_setting", "current_time", "current_timestamp",
	"date_bin", "date_part", "date_trunc", "decimal", "decode", "degrees", "dense_rank",
	"distinct", "else", "encode", "every", "except", "exists", "exp", "extract", "filter",
	"first_value", "float", "floor", "from", "gen_random_uuid", "generate_series",
	"greatest", "having", "ilike", "in", "initcap", "intersect", "interval", "is", "join",
	"json_agg", "json_array_length", "json_build_array", "json_build_object", "json_object_agg",
	"jsonb_agg", "jsonb_array_elements", "jsonb_array_elements_text", "jsonb_array_length",
	"jsonb_build_array", "jsonb_build_object", "jsonb_each", "jsonb_each_text",
	"jsonb_extract_path", "jsonb_extract_path_text", "jsonb_object_agg", "jsonb_object_keys",
	"jsonb_pretty", "jsonb_set", "jsonb_typeof", "lag", "last_value", "lateral", "lead", "least",
	"left", "length", "like", "limit", "ln", "localtime", "localtimestamp", "lower", "lpad",
	"ltrim", "make_date", "make_interval", "make_timestamp", "make_timestamptz", "materialized",
	"max", "md5", "min", "not", "now", "nth_value", "ntile", "nullif", "numeric",
	"octet_length", "offset", "on", "or", "over", "percent_rank", "percentile_cont",
	"percentile_disc", "pg_is_in_recovery", "pg_size_pretty", "pg_typeof", "pi", 
	"quote_ident", "quote_literal", "radians", "random", "rank", "regexp_match",
	"regexp_matches", "regexp_replace", "regexp_split_to_array", 
	"right", "round", "row", "row_number", "row_to_json", "rpad", "rtrim", "select", "sha256",
	"sign", "sin", "some", "split_part", "sqrt", "starts_with", "statement_timestamp", "stddev",
	"stddev_pop", "stddev_samp", "string_agg", "string_to_array", "strpos", "substr", "substring",
	"sum", "tan", "then", "time", "timestamp", "timestamptz", "timetz", "to_char", "to_date",
	"to_json", "to_jsonb", "to_number", "to_timestamp", "transaction_timestamp", 
	"trim", "trunc", "union", "unnest", "upper", "using", "values", "var_pop", "var_samp",
	"varchar", "variance", "version", "when", "where", "width_bucket", "with", "within",
};

/* Words that belong to something else than reading, wherever they stand. */
static const char *const writes[] = {
	"alter", "call", "copy", "create", "delete", "do", "drop", "execute", "grant", "insert",
	"into", "listen", "lock", "merge", "notify", "prepare", "reindex", "revoke", "set", "share",
	"truncate", "update", "upsert", "vacuum",
};

static const char *const begins[] = { "select", "show", "table", "values", "with" };

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int order(const void *key, const void *item)
{
	const struct lex_token *t = key;
	const char *word = *(const char *const *)item;
	int r = strncasecmp(t->text, word, t->len);

	return r ? r : -(word[t->len] != '\0');
}

static bool is_in(const struct lex_token *t, const char *const *list, size_t n)
{
	return t->kind == LEX_WORD && bsearch(t, list, n, sizeof(*list), order) != NULL;
}

static bool is_punct(const struct lex_token *t, const char *what)
{
	return t->kind == LEX_PUNCT && t->len == strlen(what) && memcmp(t->text, what, t->len) == 0;
}

/* A name in front of a parenthesis; qualified by pg_catalog or not at all. */
static bool may_call(const struct lex_token *name, const struct lex_token *dot,
		     const struct lex_token *schema)
{
	if (is_punct(dot, ".") && !lex_is(schema, "pg_catalog"))
		return false;
	return is_in(name, harmless, COUNT(harmless));
}

bool lex_reads_only(const char *sql, size_t len)
{
	struct lex_token was[3] = { { 0 } }, t;
	bool begin = true;
	unsigned n = 0;
	struct lex l;

	lex_init(&l, sql, len);
	for (t = lex_next(&l); t.kind != LEX_END; t = lex_next(&l)) {
		if (t.kind == LEX_BAD || is_in(&t, writes, COUNT(writes)))
			return false;
		/* U&"f" UESCAPE '!' (1): between a name and its parenthesis */
		if (t.kind == LEX_QUOTED && t.quote == 'U')
			return false;
		/* (row).f and $1.f are calls like f(row) */
		if (is_punct(&t, ".") && (is_punct(&was[0], ")") || is_punct(&was[0], "]") ||
					  was[0].kind == LEX_PARAM))
			return false;
		if (is_punct(&t, "(") && (was[0].kind == LEX_WORD || was[0].kind == LEX_QUOTED) &&
		    !may_call(&was[0], &was[1], &was[2]))
			return false;
		if (begin && !is_punct(&t, "(") && !is_punct(&t, ";")) {
			if (!is_in(&t, begins, COUNT(begins)))
				return false;
			begin = false;
			n++;
		}
		begin |= is_punct(&t, ";");
		was[2] = was[1];
		was[1] = was[0];
		was[0] = t;
	}
	return n > 0;
}
