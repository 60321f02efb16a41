# ci.rb notify BUILD REPO | pay SERVICE LINE_ITEM AMOUNT
require "json"
require "pg"

def notify(db, build, repo)
  won = db.exec_params("SELECT claim_once('ci_failure', $1, $2)", [build, repo]).getvalue(0, 0)
  won == "t" ? "sent: build #{build} of #{repo} failed" : "not sent"
end

def pay(db, service_id, line_item_id, amount)
  db.transaction do
    key = JSON.generate(service_id:, line_item_id:)
    id = db.exec_params("SELECT id FROM with_row_lock(NULL::payments, $1)", [key]).getvalue(0, 0)
    update = "UPDATE payments SET amount = amount + $1 WHERE id = $2 RETURNING amount"
    db.exec_params(update, [amount, id]).getvalue(0, 0)
  end
end

command, *parameters = ARGV
case command
when "notify" then puts notify(PG.connect, *parameters)
when "pay" then puts pay(PG.connect, *parameters)
end
