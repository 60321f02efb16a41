# What `rails db:migrate` runs, with a database that has none of these tables in PGHOST, PGDATABASE...
require_relative "models"

ActiveRecord::Tasks::DatabaseTasks.db_dir = File.join(__dir__, "db")
ActiveRecord::Migrator.migrations_paths = [File.join(__dir__, "db", "migrate")]
ActiveRecord::Tasks::DatabaseTasks.migrate
