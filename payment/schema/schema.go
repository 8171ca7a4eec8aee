// Package schema is what the platform's stores look like: tables and opening rows for MySQL, tables for Cassandra. The statements
// are values; whoever makes a world executes them, one by one, in order. Each may be executed again.
package schema

import (
	"fmt"
	"sort"
	"strings"
)

// Names of the database and the keyspace.
const (
	Database = "pay"
	Keyspace = "pay"
)

// Tags of the GTIDs of each kind of transaction (MySQL ≥ 8.3, gtid_next='AUTOMATIC:TAG').
const (
	TagPay    = "pay"    // exactly the transactions that make a payment DONE
	TagCancel = "cancel" // payments made CANCELLED, and refunds
	TagOpen   = "open"   // PENDING rows
	TagProbe  = "probe"  // probes
	TagBatch  = "batch"  // settlements
	TagCanary = "canary" // canaries; written by the harness, not by the platform
)

// MySQL returns the statements that make the database and its tables. Keys are ascii_bin: their order is that of their bytes. When
// a payment's row was made is invisible to all but those who ask for it by name.
func MySQL() []string {
	return []string{
		"CREATE DATABASE IF NOT EXISTS " + Database,
		`CREATE TABLE IF NOT EXISTS pay.accounts (
  id INT NOT NULL PRIMARY KEY,
  opening BIGINT NOT NULL,
  balance BIGINT NOT NULL
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS pay.payments (
  pay_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  from_account INT NOT NULL,
  to_account INT NOT NULL,
  yen BIGINT NOT NULL,
  state VARCHAR(12) CHARACTER SET ascii NOT NULL,
  epoch BIGINT NOT NULL,
  site VARCHAR(16) NOT NULL,
  node VARCHAR(64) NOT NULL,
  opened TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) INVISIBLE
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS pay.refunds (
  pay_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  request VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  yen BIGINT NOT NULL,
  epoch BIGINT NOT NULL,
  site VARCHAR(16) NOT NULL,
  node VARCHAR(64) NOT NULL,
  PRIMARY KEY (pay_key, request)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS pay.entries (
  account INT NOT NULL,
  pay_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  amount BIGINT NOT NULL,
  PRIMARY KEY (account, pay_key)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS pay.epoch (
  id INT NOT NULL PRIMARY KEY,
  epoch BIGINT NOT NULL,
  site VARCHAR(16) NOT NULL
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS pay.canary (
  id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  site VARCHAR(16) NOT NULL,
  t BIGINT NOT NULL,
  KEY canary_t (t)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS pay.probes (
  slot INT NOT NULL PRIMARY KEY,
  n BIGINT NOT NULL,
  t BIGINT NOT NULL
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS pay.batch_runs (
  business_date DATE NOT NULL PRIMARY KEY,
  site VARCHAR(16) NOT NULL,
  epoch BIGINT NOT NULL,
  settled BIGINT NOT NULL
) ENGINE=InnoDB`,
	}
}

// Seed returns the statements that open accounts 1 to n with the same balance in yen, and the epoch row. Rows that exist stay.
func Seed(n int, opening int64, epoch int64, site string) []string {
	var out []string
	const chunk = 1000
	for lo := 1; lo <= n; lo += chunk {
		var b strings.Builder
		b.WriteString("INSERT IGNORE INTO pay.accounts (id, opening, balance) VALUES ")
		for id := lo; id <= min(n, lo+chunk-1); id++ {
			if id > lo {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "(%d, %d, %d)", id, opening, opening)
		}
		out = append(out, b.String())
	}
	return append(out, fmt.Sprintf("INSERT IGNORE INTO pay.epoch (id, epoch, site) VALUES (1, %d, '%s')", epoch, strings.ReplaceAll(site, "'", "''")))
}

// Cassandra returns the statements that make the keyspace, with a replication factor for each data centre, and its tables. A
// data centre without a node is refused by Cassandra itself.
func Cassandra(replication map[string]int) []string {
	dcs := make([]string, 0, len(replication))
	for dc := range replication {
		dcs = append(dcs, dc)
	}
	sort.Strings(dcs)
	factors := ""
	for _, dc := range dcs {
		factors += fmt.Sprintf(", '%s': %d", strings.ReplaceAll(dc, "'", "''"), replication[dc])
	}
	return []string{
		"CREATE KEYSPACE IF NOT EXISTS " + Keyspace + " WITH replication = {'class': 'NetworkTopologyStrategy'" + factors + "} AND durable_writes = true",
		"CREATE TABLE IF NOT EXISTS pay.events (pay_key text PRIMARY KEY, yen bigint, epoch bigint, site text)",
		"CREATE TABLE IF NOT EXISTS pay.probes (slot int PRIMARY KEY, n bigint)",
	}
}
