// Package mysql is MySQL as a drill needs it: how a server's process is started (Command, Prepare), when it is ready, what an
// operator does to it (one statement a verb), and what it says about itself afterwards. It stands for article 002's Aurora
// global database: one writable server in the active region, one in the standby that replicates from it asynchronously.
//
// Replication is by GTID with tags (MySQL ≥ 8.3), so that payments, canaries and housekeeping are told apart in the databases'
// own account. Every fact is read from the server; nothing is remembered between two calls.
package mysql
