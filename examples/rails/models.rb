require "active_record"
require_relative "once"

# Behind a pooler in transaction mode a statement that was prepared on one server connection is not there on the next.
ActiveRecord::Base.establish_connection(
  adapter: "postgresql", host: ENV["PGHOST"], port: ENV["PGPORT"], username: ENV["PGUSER"],
  database: ENV["PGDATABASE"], pool: 20, prepared_statements: !ENV["POOLED"],
)

class ApplicationRecord < ActiveRecord::Base
  self.abstract_class = true
  include Once
end

class Service < ApplicationRecord
  has_many :payments
end

class Payment < ApplicationRecord
  belongs_to :service
  enum status: { pending: 0, paid: 1 }, _default: :pending # from Rails 7 on: enum :status, { … }, default: :pending
  attribute :amount, :decimal, default: 0
  self.once_condition = { discarded_at: nil }

  # As the gem discard does.
  def discard!
    update!(discarded_at: Time.current)
  end
end

class Book < ApplicationRecord
  attribute :edition, :integer, default: 1
  attribute :tags, :jsonb, default: -> { ["new"] }
end

class CIBuildFailure < ApplicationRecord
  self.table_name = "ci_build_failures"
end
