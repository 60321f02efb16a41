# pg, with its defaults but for the types of results.
require "json"
require "pg"

db = PG.connect
db.type_map_for_results = PG::BasicTypeMapForResults.new(db)
$stdout.sync = true
$stdin.each_line do |line|
  statement = JSON.parse(line)
  outcome =
    begin
      { rows: db.exec_params(statement["sql"], statement["with"]).values }
    rescue PG::Error => error
      { raises: error.result&.error_field(PG::PG_DIAG_SQLSTATE) }
    end
  puts JSON.generate(outcome)
end
