// Claims by parts of Go's types. What a program of parts does is said in parts.py.
package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/lib/pq"
)

type part struct {
	kind  string
	value any
}

func claim(db *sql.DB, ns string, value any, cast string) (won bool, err error) {
	err = db.QueryRow("SELECT claim_once($1, $2"+cast+")", ns, value).Scan(&won)
	return won, err
}

func main() {
	db, err := sql.Open("postgres", "sslmode=disable")
	if err != nil {
		panic(err)
	}
	instant := time.Date(2026, 12, 1, 12, 34, 56, 789000000, time.UTC)
	tenth, fifth := 0.1, 0.2
	parts := []part{
		{"integer", 4711},
		{"bigint", int64(9007199254740993)},
		{"text", "é, org/repo"},
		{"boolean", true},
		{"date", time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)},
		{"timestamptz", instant},
		{"timestamptz", instant.Local()},
		{"timestamp", instant},
		{"numeric", "12.5"},
		{"uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"},
		{"bytea", []byte{0xff, 0xfe}},
		{"float8", tenth + fifth},
		{"array", pq.Array([]string{"a", "b"})},
	}
	for _, ns := range os.Args[2:] {
		for _, part := range parts {
			as := fmt.Sprintf("%T", part.value)
			if instant, ok := part.value.(time.Time); ok {
				as += " " + instant.Location().String()
			}
			answer := map[string]any{"ns": ns, "kind": part.kind, "as": as}
			if os.Args[1] == "default" {
				_, err := claim(db, ns+" "+part.kind+" "+as, part.value, "")
				if raised, ok := err.(*pq.Error); ok {
					answer["refused"] = raised.Code
				} else if err != nil {
					answer["refused"] = "driver"
				}
			} else if part.kind == "array" {
				continue
			} else if answer["won"], err = claim(db, ns, part.value, "::"+part.kind); err != nil {
				panic(err)
			}
			line, _ := json.Marshal(answer)
			fmt.Println(string(line))
		}
	}
}
