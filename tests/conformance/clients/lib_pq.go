// lib/pq, with its defaults; behind a pooler with binary_parameters, which needs one round trip.
package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"

	"github.com/lib/pq"
)

type statement struct {
	Sql  string
	With []any
}

func run(db *sql.Conn, asked statement) map[string]any {
	rows := [][]any{}
	found, err := db.QueryContext(context.Background(), asked.Sql, asked.With...)
	if err == nil {
		defer found.Close()
		columns, _ := found.Columns()
		for found.Next() {
			row := make([]any, len(columns))
			places := make([]any, len(columns))
			for at := range row {
				places[at] = &row[at]
			}
			found.Scan(places...)
			for at, value := range row {
				if text, ok := value.([]byte); ok {
					row[at] = string(text)
				}
			}
			rows = append(rows, row)
		}
		err = found.Err()
	}
	if raised, ok := err.(*pq.Error); ok {
		return map[string]any{"raises": raised.Code}
	}
	return map[string]any{"rows": rows}
}

func main() {
	name := "sslmode=disable"
	if os.Getenv("POOLED") != "" {
		name += " binary_parameters=yes"
	}
	pool, err := sql.Open("postgres", name)
	if err != nil {
		panic(err)
	}
	db, err := pool.Conn(context.Background())
	if err != nil {
		panic(err)
	}
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked statement
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.UseNumber()
		decoder.Decode(&asked)
		for at, value := range asked.With {
			if number, ok := value.(json.Number); ok {
				asked.With[at], _ = number.Int64()
			}
		}
		answer, _ := json.Marshal(run(db, asked))
		fmt.Println(string(answer))
	}
}
