# ruby once_test.rb, with a database that migrate.rb has migrated in PGHOST, PGDATABASE...
require "minitest/autorun"
require_relative "models"

class OnceTest < Minitest::Test
  # What the block returns in each of `count` processes, which all begin it at the same moment.
  def at_once(count, &work)
    ActiveRecord::Base.connection_pool.disconnect!
    gate, opener = IO.pipe
    pipes = count.times.map { IO.pipe.tap { |_, answer| fork { opener.close; play(gate, answer, &work) } } }
    opener.close
    answers = pipes.map { |said, answer| answer.close; Marshal.load(said.read) }
    Process.waitall
    answers.each { |answer| raise answer if answer.is_a?(Exception) }
  end

  def play(gate, answer)
    gate.read
    answer.write(Marshal.dump(yield))
  rescue StandardError => error
    answer.write(Marshal.dump(RuntimeError.new(error.full_message)))
  ensure
    exit!
  end

  def service
    @service ||= Service.create!(name: "a service")
  end

  # By a sequential scan: an index could be what is wrong.
  def rows(model, **values)
    model.transaction do
      %w[indexscan indexonlyscan bitmapscan].each { |scan| model.connection.execute("SET LOCAL enable_#{scan} = off") }
      model.where(values).order(:id).to_a
    end
  end

  def test_one_of_eight_processes_sends_the_message
    build = rand(1 << 40)
    sent = at_once(8) { CIBuildFailure.track!(build_id: build, repo: "org/repo") { |failure| failure.save! } }
    assert_equal 1, sent.count(true)
    assert_equal ["org/repo"], rows(CIBuildFailure, build_id: build).map(&:repo)
    assert CIBuildFailure.track!(build_id: build + 1, repo: "org/repo")
  end

  def test_an_exception_in_the_block_gives_the_claim_back
    build = rand(1 << 40)
    assert_raises(ArgumentError) { CIBuildFailure.track!(build_id: build, repo: "r") { raise ArgumentError } }
    assert CIBuildFailure.track!(build_id: build, repo: "r")
  end

  def test_eight_processes_create_one_book
    title = "Dune #{rand(1 << 40)}"
    ids = at_once(8) { Book.find_or_create_once(defaults: { edition: 2 }, title: title, author: "Frank Herbert").id }
    assert_equal 1, ids.uniq.size
    assert_equal [[2, ["new"]]], rows(Book, title: title).map { |book| [book.edition, book.tags] }
  end

  def test_eight_processes_add_up
    key = { service_id: service.id, line_item_id: "A" }
    at_once(8) do
      10.times { Payment.with_row_lock(**key) { |payment| payment.update!(amount: payment.amount + 1) } }
    end
    assert_equal [80], rows(Payment, **key).map(&:amount)
  end

  def test_a_new_row_is_as_the_model_would_make_it
    before = Time.current.floor(6)
    payment = Payment.with_row_lock(service_id: service.id, line_item_id: "A", &:itself)
    assert_equal ["pending", 0, nil], [payment.status, payment.amount, payment.discarded_at]
    assert_includes before..Time.current, payment.created_at
    assert_equal payment.created_at, payment.updated_at
    paid = Payment.with_row_lock(service_id: service.id, line_item_id: "B", defaults: { status: :paid, amount: "1.50" }, &:itself)
    assert_equal ["paid", BigDecimal("1.5")], [paid.status, paid.amount]
  end

  # t.timestamps makes columns that are NOT NULL and have no default in the database.
  def test_without_the_defaults_of_the_model_the_row_cannot_be_created
    key = { service_id: service.id, line_item_id: "A", discarded_at: nil }.to_json
    error = assert_raises(ActiveRecord::NotNullViolation) do
      Payment.find_by_sql(["SELECT * FROM with_row_lock(NULL::payments, ?)", key])
    end
    assert_match(/null value in column "amount".*^HINT: .*defaults/m, error.message)
  end

  def test_eight_processes_call_with_payment_lock
    lock = ["SELECT created FROM with_payment_lock(?, 'A', defaults => ?)", service.id,
            { amount: 0, status: 0, created_at: "now", updated_at: "now" }.to_json]
    created = at_once(8) { Payment.connection.select_value(Payment.sanitize_sql(lock)) }
    assert_equal 1, created.count(true)
    assert_equal ["pending"], rows(Payment, service_id: service.id).map(&:status)
  end

  def test_a_discarded_payment_is_not_found
    key = { service_id: service.id, line_item_id: "A" }
    old = Payment.with_row_lock(**key) { |payment| payment.tap(&:discard!) }
    ids = at_once(8) { Payment.with_row_lock(**key) { |payment| payment.tap { _1.update!(amount: _1.amount + 1) }.id } }
    assert_equal 1, ids.uniq.size
    assert_equal [[old.id, true, 0], [ids.first, false, 8]], rows(Payment, **key).map { [_1.id, !!_1.discarded_at, _1.amount] }
  end

  def test_an_enum_may_be_in_the_key
    key = { service_id: service.id, line_item_id: "A", status: :pending }
    first = Payment.with_row_lock(**key) { |payment| payment.tap(&:paid!).tap(&:discard!) }
    second = Payment.with_row_lock(**key, &:itself)
    refute_equal first.id, second.id
    assert second.pending?
  end

  # A process that loads the record, waits for the lock and then changes that record overwrites what others have committed.
  def test_a_record_that_was_loaded_before_the_lock_loses_an_update
    assert_equal 10, add_twice { |_locked, loaded| loaded.update!(amount: loaded.amount + 10) }
    assert_equal 20, add_twice { |locked, _loaded| locked.update!(amount: locked.amount + 10) }
    assert_equal 20, add_twice { |_locked, loaded| loaded.reload.update!(amount: loaded.amount + 10) }
  end

  # The amount, when this process has loaded the payment before another one adds 10, and then adds 10 in its turn.
  def add_twice
    key = { service_id: service.id, line_item_id: rand(1 << 40).to_s }
    loaded = Payment.with_row_lock(**key, &:itself)
    at_once(1) { Payment.with_row_lock(**key) { |payment| payment.update!(amount: payment.amount + 10) } }
    Payment.with_row_lock(**key) { |locked| yield locked, loaded }
    rows(Payment, **key).sum(&:amount)
  end

  def test_a_timeout_is_an_answer
    key = { service_id: service.id, line_item_id: "A" }
    locked, asked = Queue.new, Queue.new
    holder = Thread.new do
      ActiveRecord::Base.connection_pool.with_connection { Payment.with_row_lock(**key) { locked << true; asked.pop } }
    end
    locked.pop
    refute Payment.with_row_lock(timeout: 0.05, **key) { flunk }
    asked << true
    holder.join
  end

  def test_the_query_cache_of_a_request_answers_nothing
    build = rand(1 << 40)
    key = { service_id: service.id, line_item_id: "A" }
    ActiveRecord::Base.cache do
      assert_equal [true, false], Array.new(2) { CIBuildFailure.track!(build_id: build, repo: "org/repo") }
      Payment.with_row_lock(**key) {}
      Thread.new { Payment.with_row_lock(**key) { |payment| payment.update!(amount: 5) } }.join
      Payment.with_row_lock(**key) { |payment| assert_equal 5, payment.amount }
    end
  end

  def test_a_named_lock_is_one_callers
    inside = 0
    most = 8.times.map do
      Thread.new { ApplicationRecord.with_named_lock("report") { (inside += 1).tap { sleep 0.01; inside -= 1 } } }
    end
    assert_equal [1], most.map(&:value).uniq
  end

  # Model.with is a query method of Rails 7.1, and create_or_find_by one of Rails 6.
  def test_no_name_is_one_of_activerecord
    names = Once::ClassMethods.instance_methods(false) + Once::ClassMethods.private_instance_methods(false)
    assert_empty names.select { |name| ActiveRecord::Base.respond_to?(name, true) || ActiveRecord::Relation.method_defined?(name) }
  end
end
