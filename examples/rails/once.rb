# pg_once for ActiveRecord. Put `include Once` into ApplicationRecord.
#
#   CIBuildFailure.track!(build_id: 4711, repo: "org/repo") { |failure| ... }   # runs in exactly one transaction
#   Book.find_or_create_once(title: "Dune", author: "Frank Herbert")
#   Payment.with_row_lock(service_id: 1, line_item_id: "A") { |payment| payment.update!(amount: ...) }
#   Payment.with_named_lock("nightly-report", timeout: 5) { ... }
#
# No name in this file is a method of ActiveRecord 6.1 to 8.1.
module Once
  extend ActiveSupport::Concern

  included do
    # Values that belong to every key of this model: `self.once_condition = { discarded_at: nil }`
    # where rows are deleted softly, so that a deleted row is never found.
    class_attribute :once_condition, default: {}
  end

  class_methods do
    # True for exactly one committed transaction for these values; the namespace is the table. The block
    # runs in that transaction, with a new record of these values.
    def track!(**values)
      transaction do
        parts = once_values(values).sort.flatten.map(&:to_s)
        won = once_select("SELECT claim_once(?, VARIADIC ARRAY[?]::text[])", table_name, parts)
        yield new(values) if won && block_given?
        won
      end
    end

    # The one row with this key, found or created in turn; without a unique index too. It takes the place of
    # create_or_find_by: no savepoint, no 23505, no sequence value for a row that was there.
    def find_or_create_once(defaults: {}, **key)
      once_row("SELECT (entity).* FROM find_or_create(NULL::#{quoted_table_name}, ?, ?)", key, defaults)
    end

    # Yields the one row with this key, locked until the transaction has ended. Nil, and nothing
    # yielded, when it could not be had within `timeout` seconds.
    #
    # Change what the block is given. A record that was loaded before has the values of then: `reload` it in the block.
    def with_row_lock(defaults: {}, timeout: nil, **key)
      transaction do
        row = once_row("SELECT * FROM with_row_lock(NULL::#{quoted_table_name}, ?, ?, ?)", key, defaults, timeout)
        row && yield(row)
      end
    end

    # Yields while this transaction holds the lock. False when it could not be had in time.
    def with_named_lock(name, timeout: nil)
      transaction do
        once_select("SELECT with_lock(?, ?, ?)", "rails", name, timeout && "#{timeout} seconds") && yield
      end
    end

    private

    # Uncached: within a request the query cache would answer the second of two equal SELECTs, without a
    # claim or a lock.
    def once_row(sql, key, defaults, *timeout)
      key = once_condition.merge(key).stringify_keys
      values = once_defaults(defaults).except(*key.keys)
      times = timeout.map { |seconds| seconds && "#{seconds} seconds" }
      uncached { find_by_sql([sql, once_values(key).to_json, once_values(values).to_json, *times]) }.first
    end

    def once_select(sql, *binds)
      connection_pool.with_connection do |connection|
        uncached { connection.select_value(sanitize_sql([sql, *binds])) }
      end
    end

    # What ActiveRecord would insert: the defaults of the model and the timestamps are not in the database.
    # Validations and callbacks do not run.
    def once_defaults(given)
      record = new(given)
      times = record_timestamps ? all_timestamp_attributes_in_model : []
      record.attributes.slice(*record.changed)
        .reverse_merge(times.index_with(current_time_from_proper_timezone))
        .merge(given.stringify_keys)
    end

    # As the attributes' types write them to the database: an enum's number, a time in UTC with all its digits.
    def once_values(values)
      connection_pool.with_connection do |connection|
        values.to_h { |name, value| [name.to_s, once_value(connection, type_for_attribute(name.to_s), value)] }
      end
    end

    def once_value(connection, type, value)
      return value.as_json if %i[json jsonb].include?(type.type)

      stored = type.serialize(type.cast(value))
      stored.is_a?(ActiveModel::Type::Binary::Data) ? "\\x#{stored.hex}" : connection.type_cast(stored)
    end
  end
end
