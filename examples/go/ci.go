// ci notify BUILD REPO | pay SERVICE LINE_ITEM AMOUNT
package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"log"
	"os"

	_ "github.com/lib/pq"
)

func notify(db *sql.DB, build, repo string) (string, error) {
	var won bool
	err := db.QueryRow("SELECT claim_once('ci_failure', $1, $2)", build, repo).Scan(&won)
	if won {
		return fmt.Sprintf("sent: build %s of %s failed", build, repo), err
	}
	return "not sent", err
}

func pay(db *sql.DB, service, lineItem, amount string) (string, error) {
	key, err := json.Marshal(map[string]string{"service_id": service, "line_item_id": lineItem})
	if err != nil {
		return "", err
	}
	tx, err := db.Begin()
	if err != nil {
		return "", err
	}
	defer tx.Rollback()
	var id int64
	if err := tx.QueryRow("SELECT id FROM with_row_lock(NULL::payments, $1)", key).Scan(&id); err != nil {
		return "", err
	}
	var paid string
	update := "UPDATE payments SET amount = amount + $1 WHERE id = $2 RETURNING amount"
	if err := tx.QueryRow(update, amount, id).Scan(&paid); err != nil {
		return "", err
	}
	return paid, tx.Commit()
}

func main() {
	db, err := sql.Open("postgres", "sslmode=disable")
	if err != nil {
		log.Fatal(err)
	}
	var said string
	if os.Args[1] == "notify" {
		said, err = notify(db, os.Args[2], os.Args[3])
	} else {
		said, err = pay(db, os.Args[2], os.Args[3], os.Args[4])
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(said)
}
