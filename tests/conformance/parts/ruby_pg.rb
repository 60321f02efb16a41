# Claims by parts of Ruby's types. What a program of parts does is said in parts.py.
require "bigdecimal"
require "date"
require "json"
require "pg"
require "time"

DB = PG.connect
TIME = Time.at(1_796_128_496, 789, :millisecond)
# By default, and beside a cast: a Time's own text has no fraction, and bytes are binary.
VALUES = [
  ["integer", 4711],
  ["bigint", 9_007_199_254_740_993],
  ["text", "é, org/repo"],
  ["boolean", true],
  ["date", Date.new(2026, 12, 1)],
  ["timestamptz", TIME, TIME.iso8601(6)],
  ["timestamp", "2026-12-01 12:34:56.789"],
  ["numeric", BigDecimal("12.5")],
  ["uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"],
  ["bytea", "\xFF\xFE".b, { value: "\xFF\xFE".b, format: 1 }],
  ["float8", 0.1 + 0.2],
  ["array", %w[a b]],
].freeze

def claim(ns, value, cast)
  DB.exec_params("SELECT claim_once($1, $2#{cast})", [ns, value]).getvalue(0, 0) == "t"
end

mode, *namespaces = ARGV
namespaces.product(VALUES) do |ns, (kind, value, beside_cast)|
  answer = { ns: ns, kind: kind, as: value.class.name }
  if mode == "default"
    begin
      claim("#{ns} #{kind} #{answer[:as]}", value, "")
    rescue PG::Error => error
      answer[:refused] = error.result&.error_field(PG::PG_DIAG_SQLSTATE) || "driver"
    rescue TypeError, EncodingError
      answer[:refused] = "driver"
    end
  elsif kind == "array"
    next
  else
    answer[:won] = claim(ns, beside_cast || value, "::#{kind}")
  end
  puts JSON.generate(answer)
end
