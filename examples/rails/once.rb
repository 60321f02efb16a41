# pg_once for ActiveRecord. Put `include Once` into ApplicationRecord.
#
#   CIBuildFailure.track!(build_id: 4711, repo: "org/repo")   # true for exactly one caller
#   Book.create_or_find_by(title: "Dune", author: "Frank Herbert")
#   Payment.with(service_id: 1, line_item_id: "A") { |payment| payment.update!(amount: ...) }
#   Payment.with_named_lock("nightly-report", timeout: 5) { ... }
module Once
  extend ActiveSupport::Concern

  class_methods do
    # True for exactly one committed transaction for these values; the namespace is the table.
    def track!(**parts)
      once_value("SELECT claim_once(?, VARIADIC ARRAY[?]::text[])", table_name, parts.sort.flatten.map(&:to_s))
    end

    # The one row with this key, found or created in turn. No savepoint, no 23505, no sequence
    # value for a row that was there; without a unique index too.
    def create_or_find_by(defaults = {}, **key)
      once_row("SELECT (entity).* FROM find_or_create(NULL::#{quoted_table_name}, ?, ?)", key, defaults)
    end

    # Yields the one row with this key, locked until the transaction has ended. Nil, and nothing
    # yielded, when it could not be had within `timeout` seconds.
    def with(defaults: {}, timeout: nil, **key)
      transaction do
        row = once_row("SELECT * FROM with_row_lock(NULL::#{quoted_table_name}, ?, ?, ?)", key, defaults, timeout)
        row && yield(row)
      end
    end

    # Yields while this transaction holds the lock. False when it could not be had in time.
    def with_named_lock(name, timeout: nil)
      transaction do
        once_value("SELECT with_lock(?, ?, ?)", "rails", name, timeout && "#{timeout} seconds") && yield
      end
    end

    private

    # Uncached: within a request the same SELECT would be answered by the query cache, without a
    # claim or a lock.
    def once_row(sql, key, defaults, *timeout)
      times = timeout.map { |seconds| seconds && "#{seconds} seconds" }
      uncached { find_by_sql([sql, key.to_json, defaults.to_json, *times]) }.first
    end

    def once_value(sql, *binds)
      uncached { connection.select_value(sanitize_sql([sql, *binds])) }
    end
  end
end
