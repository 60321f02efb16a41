# ruby once_test.rb, with a database that has pg_once in PGHOST, PGDATABASE...
require "active_record"
require "minitest/autorun"
require_relative "once"

ActiveRecord::Base.establish_connection(
  adapter: "postgresql", host: ENV["PGHOST"], port: ENV["PGPORT"], username: ENV["PGUSER"],
  database: ENV["PGDATABASE"], pool: 20,
)
ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define do
  create_table(:books, force: true) { |t| t.string :title, :author; t.integer :edition, default: 1 }
  create_table(:line_payments, force: true) { |t| t.bigint :service_id; t.string :line_item_id; t.decimal :amount, default: 0 }
end

class ApplicationRecord < ActiveRecord::Base
  self.abstract_class = true
  include Once
end
class CIBuildFailure < ApplicationRecord; end
class Book < ApplicationRecord; end
class Payment < ApplicationRecord
  self.table_name = "line_payments"
end

class OnceTest < Minitest::Test
  def at_once(count)
    threads = count.times.map do |number|
      Thread.new { ActiveRecord::Base.connection_pool.with_connection { yield number } }
    end
    threads.map(&:value)
  end

  def test_eight_jobs_fail_and_one_message_is_sent
    sent = at_once(8) { CIBuildFailure.track!(build_id: 4711, repo: "org/repo") }
    assert_equal 1, sent.count(true)
    assert CIBuildFailure.track!(build_id: 4712, repo: "org/repo")
  end

  def test_a_book_is_created_once
    ids = at_once(8) { Book.create_or_find_by({ edition: 2 }, title: "Dune", author: "Frank Herbert").id }
    assert_equal 1, ids.uniq.size
    assert_equal [2], Book.where(title: "Dune").pluck(:edition)
  end

  def test_payments_add_up
    at_once(8) do
      10.times do
        Payment.with(service_id: 1, line_item_id: "A") do |payment|
          payment.update!(amount: payment.amount + 1)
        end
      end
    end
    assert_equal [80], Payment.where(service_id: 1).pluck(:amount)
  end

  def test_a_timeout_is_an_answer
    locked, asked = Queue.new, Queue.new
    holder = Thread.new do
      Payment.with(service_id: 2, line_item_id: "A") { locked << true; asked.pop }
    end
    locked.pop
    refute Payment.with(service_id: 2, line_item_id: "A", timeout: 0.05) { flunk }
    asked << true
    holder.join
  end

  def test_the_query_cache_of_a_request_answers_nothing
    key = { service_id: 3, line_item_id: "A" }
    ActiveRecord::Base.cache do
      told = Array.new(2) { CIBuildFailure.track!(build_id: 4713, repo: "org/repo") }
      assert_equal [true, false], told
      Payment.with(**key) {}
      at_once(1) { Payment.with(**key) { |payment| payment.update!(amount: 5) } }
      Payment.with(**key) { |payment| assert_equal 5, payment.amount }
    end
  end

  def test_a_named_lock_is_one_callers
    inside = 0
    most = at_once(8) { ApplicationRecord.with_named_lock("report") { (inside += 1).tap { sleep 0.01; inside -= 1 } } }
    assert_equal [1], most.uniq
  end
end
