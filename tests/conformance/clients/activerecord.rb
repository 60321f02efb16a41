# ActiveRecord: transactions by its connection's means, statements with binds.
require "json"
require "active_record"

ActiveRecord::Base.establish_connection(
  adapter: "postgresql", host: ENV["PGHOST"], port: ENV["PGPORT"], username: ENV["PGUSER"],
  database: ENV["PGDATABASE"], prepared_statements: !ENV["POOLED"], advisory_locks: !ENV["POOLED"],
)
db = ActiveRecord::Base.connection

def db.play(sql, parameters)
  case sql
  when "BEGIN" then begin_transaction(joinable: false, _lazy: false)
  when /\ABEGIN (.*)/ then [play("BEGIN", []), execute("SET TRANSACTION #{$1}")]
  when "COMMIT" then commit_transaction
  when "ROLLBACK" then rollback_transaction
  else
    types = { String => ActiveModel::Type::String, Integer => ActiveModel::Type::BigInteger }
    binds = parameters.each_with_index.map do |value, at|
      type = types.fetch(value.class, ActiveModel::Type::Value).new
      ActiveRecord::Relation::QueryAttribute.new(at.to_s, value, type)
    end
    exec_query(sql, "play", binds).cast_values.map { |row| Array(row) }
  end
end

$stdout.sync = true
$stdin.each_line do |line|
  statement = JSON.parse(line)
  outcome =
    begin
      { rows: Array(db.play(statement["sql"], statement["with"])) }
    rescue ActiveRecord::StatementInvalid => error
      { raises: error.cause.result&.error_field(PG::PG_DIAG_SQLSTATE) }
    end
  puts JSON.generate(outcome)
end
