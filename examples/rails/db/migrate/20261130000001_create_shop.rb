class CreateShop < ActiveRecord::Migration[6.1]
  def change
    enable_extension "pg_once"

    create_table :services do |t|
      t.string :name, null: false
      t.timestamps
    end

    create_table :payments do |t|
      t.references :service, null: false, foreign_key: true
      t.string :line_item_id, null: false
      t.decimal :amount, precision: 12, scale: 2, null: false
      t.integer :status, null: false
      t.datetime :discarded_at, index: true
      t.timestamps
      t.index [:service_id, :line_item_id], unique: true, where: "discarded_at IS NULL"
    end

    # No unique index.
    create_table :books do |t|
      t.string :title, :author, null: false
      t.integer :edition, null: false
      t.jsonb :tags, null: false
      t.timestamps
    end

    create_table :ci_build_failures do |t|
      t.bigint :build_id, null: false
      t.string :repo, null: false
      t.timestamps
    end
  end
end
