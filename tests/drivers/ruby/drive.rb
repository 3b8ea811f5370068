# SPDX-License-Identifier: ISC
# The pg gem.
require 'pg'
require 'set'
require 'timeout'

RUN = ENV.fetch('RUN_ID')
SHOW = "SELECT concat_ws('|', current_setting('search_path'), current_setting('statement_timeout'), " \
       "current_setting('TimeZone'), current_setting('work_mem'))".freeze
$stdout.sync = true

def connect(count = 1, **options)
  conns = Array.new(count) { PG.connect(application_name: 'drv', **options) }
  yield(*conns)
ensure
  conns&.each { |c| c.close unless c.finished? }
end

def one(conn, sql, *args)
  args.empty? ? conn.exec(sql).getvalue(0, 0) : conn.exec_params(sql, args).getvalue(0, 0)
end

def canon(value)
  value.nil? ? 'NULL' : value.is_a?(Array) ? value.map { |v| canon(v) }.join('|') : value.to_s
end

def distinct(seen) = seen.uniq.sort.join(' / ')

def code
  yield
  'no error'
rescue PG::Error => e
  e.result&.error_field(PG::PG_DIAG_SQLSTATE) || e.class.name
end

FEATURES = {
  connect: -> { connect { |c| "#{canon(c.exec('SELECT current_user, current_database(), current_setting(\'application_name\')').values)} #{c.internal_encoding}" } },

  options: -> { connect(options: '-c work_mem=9MB -c statement_timeout=33s') { |c| distinct(Array.new(10) { one(c, SHOW) }) } },

  crud: lambda {
    connect do |c|
      c.exec("CREATE TABLE crud_#{RUN} (id serial PRIMARY KEY, a text)")
      seen = ['x', nil, 'Grüße 🐘'].map { |a| one(c, "INSERT INTO crud_#{RUN} (a) VALUES ($1) RETURNING id", a) }
      seen << c.exec_params("UPDATE crud_#{RUN} SET a = upper(a) WHERE id <> $1", [2]).cmd_tuples
      seen << c.exec("DELETE FROM crud_#{RUN} WHERE a = 'X'").cmd_status
      seen << c.exec("SELECT * FROM crud_#{RUN} ORDER BY id").values
      c.exec("DROP TABLE crud_#{RUN}")
      canon(seen)
    end
  },

  types: lambda {
    connect do |c|
      c.type_map_for_results = PG::BasicTypeMapForResults.new(c)
      values = [42, 2**53 + 1, '12345678901234567890.123456789', 'Grüße 🐘 日本', { value: "\x00\xff\x10".b, format: 1 },
                '2024-02-29T12:34:56.789Z', '{"a": [1, null]}', '{1,NULL,3}', nil, true]
      sql = 'SELECT $1::int, $2::int8, $3::numeric, $4::text, $5::bytea, $6::timestamptz, $7::jsonb, $8::int[], $9::text, $10::bool'
      got = c.exec_params(sql, values).values[0]
      got[2] = got[2].to_s('F')
      got[4] = got[4].unpack1('H*')
      got[5] = got[5].utc.strftime('%FT%T.%L')
      canon(got)
    end
  },

  transactions: lambda {
    connect(2) do |c, other|
      c.exec("CREATE TABLE tx_#{RUN} (a int)")
      seen = []
      [true, false].each do |keep|
        c.transaction do
          c.exec("INSERT INTO tx_#{RUN} VALUES (1)")
          c.exec('SAVEPOINT s')
          seen << code { c.exec('SELECT 1/0') } << code { c.exec_params('SELECT 1', []) }
          c.exec('ROLLBACK TO SAVEPOINT s')
          c.exec("INSERT INTO tx_#{RUN} VALUES (2)")
          seen << one(other, "SELECT count(*) FROM tx_#{RUN}")
          raise 'gave up' unless keep
        end
      rescue RuntimeError => e
        seen << e.message
      ensure
        seen << other.exec("SELECT a FROM tx_#{RUN} ORDER BY a").values
      end
      c.exec("DROP TABLE tx_#{RUN}")
      canon(seen)
    end
  },

  prepared: lambda {
    connect(2) do |c, other|
      c.prepare('twice', 'SELECT $1::int * 2')
      other.prepare('twice', 'SELECT $1::int * 3')
      sum = 0
      150.times do |i|
        sum += c.exec_prepared('twice', [i]).getvalue(0, 0).to_i + other.exec_prepared('twice', [i]).getvalue(0, 0).to_i
      end
      described = c.describe_prepared('twice').paramtype(0)
      c.exec('DEALLOCATE twice')
      canon([sum, described, code { c.exec_prepared('twice', [1]) }, code { other.prepare('twice', 'SELECT 1') }])
    end
  },

  batch: lambda {
    connect do |c|
      c.enter_pipeline_mode
      seen = [Array.new(100) { |i| "SELECT #{i}" }, ['SELECT 1', 'SELECT 1/0', 'SELECT 2']].map do |queries|
        queries.each { |q| c.send_query_params(q, []) }
        c.pipeline_sync
        got = []
        until got.last == PG::PGRES_PIPELINE_SYNC
          r = c.get_result or next
          got << r.result_status
        end
        got.tally
      end
      c.exit_pipeline_mode
      canon(seen << one(c, 'SELECT 3'))
    end
  },

  cursor: lambda {
    connect(2) do |c, other|
      c.send_query('SELECT generate_series(1, 1000)')
      c.set_single_row_mode
      sum = 0
      c.get_result.stream_each { |r| sum += r['generate_series'].to_i }
      c.get_result
      c.transaction do
        c.exec('DECLARE k CURSOR FOR SELECT generate_series(1, 100)')
        4.times do
          sum += c.exec('FETCH 25 FROM k').column_values(0).sum(&:to_i)
          other.exec('SELECT 1')
        end
      end
      sum
    end
  },

  copy: lambda {
    connect do |c|
      c.exec("CREATE TABLE copy_#{RUN} (i int, a text)")
      c.copy_data("COPY copy_#{RUN} FROM STDIN", PG::TextEncoder::CopyRow.new) { 5000.times { |i| c.put_copy_data([i.to_s, "line #{i}"]) } }
      size = 0
      c.copy_data("COPY copy_#{RUN} TO STDOUT") do
        while (line = c.get_copy_data)
          size += line.bytesize
        end
      end
      seen = [size, code { c.copy_data("COPY copy_#{RUN} FROM STDIN") { c.put_copy_data("a\tb\n") } }]
      seen << begin
        c.copy_data("COPY copy_#{RUN} FROM STDIN") { raise 'gave up' }
      rescue RuntimeError => e
        e.message
      end
      seen << one(c, "SELECT count(*) FROM copy_#{RUN}")
      c.exec("DROP TABLE copy_#{RUN}")
      canon(seen)
    end
  },

  cancel: lambda {
    connect(2) do |c, other|
      sleeping = "SELECT pg_sleep(20), '#{RUN}'"
      thread = Thread.new { code { c.exec(sleeping) } }
      sleep 0.01 until one(other, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = $1", sleeping) == '1'
      c.cancel
      seen = [thread.value]
      c.exec("SET statement_timeout = '100ms'")
      seen << code { c.exec(sleeping) } << c.exec('RESET statement_timeout').cmd_status << one(c, 'SELECT 1')
      canon(seen)
    end
  },

  notify: lambda {
    connect(2) do |listener, c|
      listener.exec("LISTEN ch_#{RUN}")
      seen = Array.new(3) do |i|
        c.exec_params('SELECT pg_notify($1, $2)', ["ch_#{RUN}", "n#{i}"])
        got = 'nothing'
        listener.wait_for_notify(10) { |_channel, _pid, payload| got = payload }
        got
      end
      listener.exec('UNLISTEN *')
      c.exec("NOTIFY ch_#{RUN}")
      listener.exec('SELECT 1')
      canon(seen << listener.notifies)
    end
  },

  errors: lambda {
    connect do |c|
      canon(['SELEC 1', 'SELECT * FROM nowhere', 'SELECT 1/0', 'INSERT INTO kv VALUES (1, 1)'].map do |sql|
        [code { c.exec(sql) }, code { c.exec_params(sql, []) }, one(c, 'SELECT $1::int', 1)]
      end)
    end
  },

  settings: lambda {
    connect(3) do |a, b, c|
      a.exec("SET search_path = schema_#{RUN}; SET statement_timeout = '31s'; SET TimeZone = 'Asia/Tokyo'")
      one(b, "SELECT set_config('work_mem', $1, false)", '6MB')
      b.exec("SET statement_timeout = '32s'")
      a.set_client_encoding('LATIN1')
      seen = Array.new(15) { [a, b, c].map { |x| "#{one(x, SHOW)}|#{one(x, 'SHOW client_encoding')}" } }
      seen.transpose.map { |s| distinct(s) }.join('; ')
    end
  },

  temp: lambda {
    connect(2) do |a, b|
      a.exec("CREATE TEMP TABLE temp_#{RUN} (i int)")
      seen = Array.new(10) do |i|
        a.exec_params("INSERT INTO temp_#{RUN} VALUES ($1)", [i])
        canon(one(b, 'SELECT to_regclass($1)', "temp_#{RUN}"))
      end
      "#{one(a, "SELECT sum(i) FROM temp_#{RUN}")} other: #{distinct(seen)}"
    end
  },

  locks: lambda {
    connect(2) do |a, b|
      try = -> { one(b, 'SELECT pg_try_advisory_xact_lock(hashtext($1))', RUN) }
      one(a, 'SELECT pg_advisory_lock(hashtext($1))', RUN)
      seen = Array.new(5) { try.call }
      canon(seen << one(a, 'SELECT pg_advisory_unlock(hashtext($1))', RUN) << try.call)
    end
  }
}.freeze

puts "driver\truby-pg #{PG::VERSION}"
FEATURES.each do |name, feature|
  got = begin
    Timeout.timeout(20) { feature.call }
  rescue StandardError => e
    "raised #{e.class}: #{e.message}"
  end
  puts "#{name}\t#{got.to_s.gsub(RUN, 'RUN').split.join(' ')}"
end
