// leader ELECTION SECONDS: campaigns, leads under a lease of so many seconds, and campaigns again where it has lost.
// SIGTERM makes it resign and end.
package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/lib/pq"
)

type candidate struct {
	db       *sql.DB
	election string
	name     string
	seconds  int
}

func (c candidate) lease() string {
	return fmt.Sprintf("%d seconds", c.seconds)
}

// campaign returns the token once this process leads, or a token that is not valid where it is to end.
func (c candidate) campaign(ending context.Context) (token sql.NullInt64, err error) {
	for ending.Err() == nil && !token.Valid && err == nil {
		err = c.db.QueryRow("SELECT token FROM begin_once('leader', $1, $2, wait => $2, worker => $3)",
			c.election, c.lease(), c.name).Scan(&token)
	}
	return token, err
}

// lead goes on until it is to end; its error says that somebody else leads.
func (c candidate) lead(ending context.Context, token int64) error {
	ticker := time.NewTicker(time.Duration(c.seconds) * time.Second / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ending.Done():
			_, err := c.db.Exec("SELECT fail_once('leader', $1, $2)", c.election, token)
			return err
		case <-ticker.C:
		}
		if _, err := c.db.Exec("SELECT renew_once('leader', $1, $2, $3)", c.election, token, c.lease()); err != nil {
			return err
		}
		if err := c.work(token); err != nil {
			return err
		}
	}
}

// work: the fence comes first in each transaction that writes. One that is stopped in it holds off the next leader no
// longer than a lease.
func (c candidate) work(token int64) error {
	tx, err := c.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	timeout := fmt.Sprintf("SET LOCAL idle_in_transaction_session_timeout = '%ds'", c.seconds)
	if _, err := tx.Exec(timeout); err != nil {
		return err
	}
	if _, err := tx.Exec("SELECT fence_once('leader', $1, $2)", c.election, token); err != nil {
		return err
	}
	if _, err := tx.Exec("INSERT INTO tick (token, name) VALUES ($1, $2)", token, c.name); err != nil {
		return err
	}
	return tx.Commit()
}

func (c candidate) run(ending context.Context) error {
	token, err := c.campaign(ending)
	if err != nil || !token.Valid {
		return err
	}
	fmt.Println("leads")
	return c.lead(ending, token.Int64)
}

func main() {
	seconds, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	db, err := sql.Open("postgres", "sslmode=disable")
	if err != nil {
		log.Fatal(err)
	}
	host, _ := os.Hostname()
	start := make([]byte, 8)
	if _, err := rand.Read(start); err != nil {
		log.Fatal(err)
	}
	// Another one at each start: a token fences processes of different names.
	name := fmt.Sprintf("%s:%d:%x", host, os.Getpid(), start)
	ending, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	c := candidate{db, os.Args[1], name, seconds}
	for ending.Err() == nil {
		err := c.run(ending)
		var refused *pq.Error
		switch {
		case err == nil:
		case errors.As(err, &refused) && refused.Code == "55000":
			fmt.Println("lost")
		default:
			fmt.Println("cut off:", err)
			time.Sleep(time.Second)
		}
	}
}
