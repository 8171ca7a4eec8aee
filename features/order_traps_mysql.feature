# Planted truth about the order of article 002's preparation (切戻準備), row 1: what goes wrong when the database that came back is not
# salvaged, or not rebuilt. MySQL itself says nothing in either case.
@order_traps @order_traps_mysql
Feature: Order traps, MySQL
  Tokyo is lost with payments that it acknowledged and never sent, Osaka takes over, and Tokyo returns on its old data.

  Background:
    Given a person on duty does what is asked by hand 1 s after being asked

  @ci @known_bad @rejoined_with_errant_rows
  Scenario: The old database rejoins with the rows that it alone has
    Given the platform of "two-region-witness.yaml" is up
    And customers make 20 payments a second, 10 % of them ignore the DNS TTL
    And 10 write probes a second measure the outage
    And 2 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    And replication from tokyo to osaka lags by at least 300 ms
    When tokyo is lost
    And the person in charge decides after 1 s
    And the operator runs "switchover-witness"
    And the load goes on for 3 s
    And tokyo returns on its old data
    And the operator runs "known_bad/rejoin-without-rebuild"
    And the database of tokyo is held against that of osaka
    And the load goes on for 3 s
    And the drill ends
    Then the verdict is FAIL by "errant transactions"

  @ci @known_bad @wiped_before_salvage
  Scenario: The old database is thrown away before it is salvaged
    Given the platform of "two-region-witness.yaml" is up
    And customers make 20 payments a second, 10 % of them ignore the DNS TTL
    And 10 write probes a second measure the outage
    And 2 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    And replication from tokyo to osaka lags by at least 300 ms
    When tokyo is lost
    And the person in charge decides after 1 s
    And the operator runs "switchover-witness"
    And the load goes on for 3 s
    And tokyo returns on its old data
    And the operator runs "known_bad/wipe-before-salvage"
    And the database of tokyo is held against that of osaka
    And the load goes on for 3 s
    And the drill ends
    Then the verdict is FAIL by "salvage"

  # The same world, done rightly: everything that only Tokyo had is in the run folder, and its database is a replica without a past.
  @nightly @global_database
  Scenario: The global database is formed again on an empty database, step by step
    Given the platform of "two-region-witness.yaml" is up
    And customers make 30 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 5 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    And replication from tokyo to osaka lags by at least 300 ms
    When tokyo is lost
    And the person in charge decides after 1 s
    And the operator runs "switchover-witness"
    And the load goes on for 3 s
    And tokyo returns on its old data
    And the operator runs "global-database-steps"
    And the database of tokyo is held against that of osaka
    And the load goes on for 3 s
    And the drill ends
    Then nothing that only tokyo had is thrown away, and its database follows without a past of its own

  # A logical copy is written by statements, which a database that is held to a lease refuses; a clone is not. So there is no fence here,
  # and the database that returned takes writes until it is wiped: the drill says for how long it bears that.
  @nightly @global_database
  Scenario: The global database is formed again by a logical copy
    Given the platform of "two-region.yaml" is up
    And customers make 30 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 5 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    And replication from tokyo to osaka lags by at least 300 ms
    When tokyo is lost
    And the person in charge decides after 1 s
    And the operator runs "switchover"
    And the load goes on for 3 s
    And tokyo returns on its old data
    And the operator runs "global-database-dump"
    And the database of tokyo is held against that of osaka
    And the load goes on for 3 s
    And the drill ends
    Then nothing that only tokyo had is thrown away, and its database follows without a past of its own
    And two regions accepted writes for at most 60 s

  # Without a fence the database that returns takes writes from the moment it is up until it is wiped. Customers are cut from it; whoever
  # else can reach it (a batch, an operator's session) is not.
  @ci @known_bad @returned_unfenced
  Scenario: The old database returns, and nothing keeps it from taking writes
    Given the platform of "two-region.yaml" is up
    And customers make 20 payments a second, 10 % of them ignore the DNS TTL
    And 10 write probes a second measure the outage
    And 2 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    And replication from tokyo to osaka lags by at least 300 ms
    When tokyo is lost
    And the person in charge decides after 1 s
    And the operator runs "switchover"
    And the load goes on for 3 s
    And tokyo returns on its old data
    And the load goes on for 3 s
    And the drill ends
    Then the verdict is FAIL by "one writer"
