// lib/pq: statements of Prepare, while the table changes, beside core's own SELECT.
package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/lib/pq"
)

type cases struct {
	Table   []string
	Changes map[string][]string
	Forms   map[string][2]string
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func connect() *sql.DB {
	db, err := sql.Open("postgres", "sslmode=disable")
	must(err)
	db.SetMaxOpenConns(1)
	return db
}

// The rows, or what was raised.
func outcome(kept *sql.Stmt) any {
	found, err := kept.Query()
	if err != nil {
		raised := err.(*pq.Error)
		return fmt.Sprint(raised.Code, " ", raised.Message, " ", raised.Routine)
	}
	defer found.Close()
	columns, err := found.Columns()
	must(err)
	rows := [][]any{}
	for found.Next() {
		row := make([]any, len(columns))
		places := make([]any, len(columns))
		for at := range row {
			places[at] = &row[at]
		}
		must(found.Scan(places...))
		rows = append(rows, row)
	}
	if err := found.Err(); err != nil {
		raised := err.(*pq.Error)
		return fmt.Sprint(raised.Code, " ", raised.Message, " ", raised.Routine)
	}
	return rows
}

func check(name string, wanted, got any) {
	if reflect.DeepEqual(wanted, got) {
		fmt.Println("ok " + name)
	} else {
		fmt.Printf("FAILED %s: wanted %v, got %v\n", name, wanted, got)
	}
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	must(err)
	var all cases
	must(json.Unmarshal(text, &all))
	owner := connect()
	for change, statements := range all.Changes {
		for form, pair := range all.Forms {
			if form == "defined" && strings.HasPrefix(change, "swap of tables") {
				continue
			}
			for _, statement := range all.Table {
				_, err := owner.Exec(statement)
				must(err)
			}
			one, other := connect(), connect()
			ours, err := one.Prepare(pair[0])
			must(err)
			cores, err := other.Prepare(pair[1])
			must(err)
			for call := 0; call < 2; call++ {
				check(change+": "+form+" before", outcome(cores), outcome(ours))
			}
			_, err = owner.Exec("BEGIN; " + strings.Join(statements, "; ") + "; COMMIT")
			must(err)
			for call := 1; call <= 3; call++ {
				check(fmt.Sprint(change, ": ", form, ", call ", call), outcome(cores), outcome(ours))
			}
			one.Close()
			other.Close()
		}
	}
}
