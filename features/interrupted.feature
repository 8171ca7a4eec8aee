# Operators die. For each procedure and each point of a step, the operator is killed (SIGKILL) at every step once, is started again
# by the same command each time, and must leave the platform as an operator who lived does: fact by fact, with every judge green, and
# no act applied twice. Below that: what else can happen between two operators.
Feature: The operator dies at every step

  @interrupted @switchover
  Scenario: Switchover, the operator dies at every step before the intent is on disk
    Given the platform of "two-region.yaml" is up
    And customers make 30 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 3 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    And the DNS record "campaign" is added, younger than the procedure
    And replication from tokyo to osaka lags by at least 300 ms
    And a person on duty does what is asked by hand 1 s after being asked
    And the person in charge approves 1 s after being asked
    When tokyo is lost
    And the person in charge decides after 3 s
    And the operator runs "switchover" and is killed at every step "before-intent"
    And the load goes on for 15 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And no act was applied twice
    And customers are out for at most 120 s after the decision
    And at most 200 acknowledged payments are lost, none of them older than 2 s
    And no acknowledged payment is dropped, and none was never durable
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms
    And the end facts are those of "switchover_forced"

  @interrupted @switchover
  Scenario: Switchover, the operator dies at every step after the intent, before the act
    Given the platform of "two-region.yaml" is up
    And customers make 30 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 3 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    And the DNS record "campaign" is added, younger than the procedure
    And replication from tokyo to osaka lags by at least 300 ms
    And a person on duty does what is asked by hand 1 s after being asked
    And the person in charge approves 1 s after being asked
    When tokyo is lost
    And the person in charge decides after 3 s
    And the operator runs "switchover" and is killed at every step "after-intent"
    And the load goes on for 15 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And no act was applied twice
    And customers are out for at most 120 s after the decision
    And at most 200 acknowledged payments are lost, none of them older than 2 s
    And no acknowledged payment is dropped, and none was never durable
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms
    And the end facts are those of "switchover_forced"

  @interrupted @switchover
  Scenario: Switchover, the operator dies at every step after the act, before its record
    Given the platform of "two-region.yaml" is up
    And customers make 30 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 3 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    And the DNS record "campaign" is added, younger than the procedure
    And replication from tokyo to osaka lags by at least 300 ms
    And a person on duty does what is asked by hand 1 s after being asked
    And the person in charge approves 1 s after being asked
    When tokyo is lost
    And the person in charge decides after 3 s
    And the operator runs "switchover" and is killed at every step "after-act"
    And the load goes on for 15 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And no act was applied twice
    And customers are out for at most 120 s after the decision
    And at most 200 acknowledged payments are lost, none of them older than 2 s
    And no acknowledged payment is dropped, and none was never durable
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms
    And the end facts are those of "switchover_forced"

  @interrupted @switchover
  Scenario: Switchover, the operator dies at every step after the record, before the confirm
    Given the platform of "two-region.yaml" is up
    And customers make 30 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 3 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    And the DNS record "campaign" is added, younger than the procedure
    And replication from tokyo to osaka lags by at least 300 ms
    And a person on duty does what is asked by hand 1 s after being asked
    And the person in charge approves 1 s after being asked
    When tokyo is lost
    And the person in charge decides after 3 s
    And the operator runs "switchover" and is killed at every step "after-record"
    And the load goes on for 15 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And no act was applied twice
    And customers are out for at most 120 s after the decision
    And at most 200 acknowledged payments are lost, none of them older than 2 s
    And no acknowledged payment is dropped, and none was never durable
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms
    And the end facts are those of "switchover_forced"

  @interrupted @failback_preparation
  Scenario: Failback preparation, the operator dies at every step before the intent is on disk
    Given the platform of "two-region-witness.yaml" is up
    And customers make 30 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 3 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    And the DNS record "campaign" is added, younger than the procedure
    And replication from tokyo to osaka lags by at least 300 ms
    And a person on duty does what is asked by hand 1 s after being asked
    And the person in charge approves 1 s after being asked
    When tokyo is lost
    And the person in charge decides after 3 s
    And the operator runs "switchover-witness"
    And the load goes on for 5 s
    And tokyo returns on its old data
    And the operator runs "failback-preparation" and is killed at every step "before-intent"
    And the load goes on for 5 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And no act was applied twice
    And customers are out for at most 120 s after the decision
    And at most 200 acknowledged payments are lost, none of them older than 2 s
    And no acknowledged payment is dropped, and none was never durable
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms
    And the end facts are those of "failback_preparation"

  @interrupted @failback_preparation
  Scenario: Failback preparation, the operator dies at every step after the intent, before the act
    Given the platform of "two-region-witness.yaml" is up
    And customers make 30 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 3 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    And the DNS record "campaign" is added, younger than the procedure
    And replication from tokyo to osaka lags by at least 300 ms
    And a person on duty does what is asked by hand 1 s after being asked
    And the person in charge approves 1 s after being asked
    When tokyo is lost
    And the person in charge decides after 3 s
    And the operator runs "switchover-witness"
    And the load goes on for 5 s
    And tokyo returns on its old data
    And the operator runs "failback-preparation" and is killed at every step "after-intent"
    And the load goes on for 5 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And no act was applied twice
    And customers are out for at most 120 s after the decision
    And at most 200 acknowledged payments are lost, none of them older than 2 s
    And no acknowledged payment is dropped, and none was never durable
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms
    And the end facts are those of "failback_preparation"

  @interrupted @failback_preparation
  Scenario: Failback preparation, the operator dies at every step after the act, before its record
    Given the platform of "two-region-witness.yaml" is up
    And customers make 30 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 3 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    And the DNS record "campaign" is added, younger than the procedure
    And replication from tokyo to osaka lags by at least 300 ms
    And a person on duty does what is asked by hand 1 s after being asked
    And the person in charge approves 1 s after being asked
    When tokyo is lost
    And the person in charge decides after 3 s
    And the operator runs "switchover-witness"
    And the load goes on for 5 s
    And tokyo returns on its old data
    And the operator runs "failback-preparation" and is killed at every step "after-act"
    And the load goes on for 5 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And no act was applied twice
    And customers are out for at most 120 s after the decision
    And at most 200 acknowledged payments are lost, none of them older than 2 s
    And no acknowledged payment is dropped, and none was never durable
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms
    And the end facts are those of "failback_preparation"

  @interrupted @failback_preparation
  Scenario: Failback preparation, the operator dies at every step after the record, before the confirm
    Given the platform of "two-region-witness.yaml" is up
    And customers make 30 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 3 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    And the DNS record "campaign" is added, younger than the procedure
    And replication from tokyo to osaka lags by at least 300 ms
    And a person on duty does what is asked by hand 1 s after being asked
    And the person in charge approves 1 s after being asked
    When tokyo is lost
    And the person in charge decides after 3 s
    And the operator runs "switchover-witness"
    And the load goes on for 5 s
    And tokyo returns on its old data
    And the operator runs "failback-preparation" and is killed at every step "after-record"
    And the load goes on for 5 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And no act was applied twice
    And customers are out for at most 120 s after the decision
    And at most 200 acknowledged payments are lost, none of them older than 2 s
    And no acknowledged payment is dropped, and none was never durable
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms
    And the end facts are those of "failback_preparation"

  @interrupted @failback
  Scenario: Failback, the operator dies at every step before the intent is on disk
    Given the platform of "two-region.yaml" is up
    And customers make 20 payments a second, 0 % of them ignore the DNS TTL
    And 50 write probes a second measure the outage
    And 2 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    And a person on duty does what is asked by hand 200 ms after being asked
    And the person in charge approves 1 s after being asked
    When the operator runs "switchover-planned"
    And the load goes on for 5 s
    And the operator runs "failback" and is killed at every step "before-intent"
    And the load goes on for 15 s
    And the drill ends
    Then no fault was injected and the harness sane
    And every step of the procedure was confirmed
    And no act was applied twice
    And customers are out for at most 60 s during the handover
    And nothing acknowledged is lost
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 0 ms
    And the end facts are those of "failback"

  @interrupted @failback
  Scenario: Failback, the operator dies at every step after the intent, before the act
    Given the platform of "two-region.yaml" is up
    And customers make 20 payments a second, 0 % of them ignore the DNS TTL
    And 50 write probes a second measure the outage
    And 2 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    And a person on duty does what is asked by hand 200 ms after being asked
    And the person in charge approves 1 s after being asked
    When the operator runs "switchover-planned"
    And the load goes on for 5 s
    And the operator runs "failback" and is killed at every step "after-intent"
    And the load goes on for 15 s
    And the drill ends
    Then no fault was injected and the harness sane
    And every step of the procedure was confirmed
    And no act was applied twice
    And customers are out for at most 60 s during the handover
    And nothing acknowledged is lost
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 0 ms
    And the end facts are those of "failback"

  @interrupted @failback
  Scenario: Failback, the operator dies at every step after the act, before its record
    Given the platform of "two-region.yaml" is up
    And customers make 20 payments a second, 0 % of them ignore the DNS TTL
    And 50 write probes a second measure the outage
    And 2 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    And a person on duty does what is asked by hand 200 ms after being asked
    And the person in charge approves 1 s after being asked
    When the operator runs "switchover-planned"
    And the load goes on for 5 s
    And the operator runs "failback" and is killed at every step "after-act"
    And the load goes on for 15 s
    And the drill ends
    Then no fault was injected and the harness sane
    And every step of the procedure was confirmed
    And no act was applied twice
    And customers are out for at most 60 s during the handover
    And nothing acknowledged is lost
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 0 ms
    And the end facts are those of "failback"

  @interrupted @failback
  Scenario: Failback, the operator dies at every step after the record, before the confirm
    Given the platform of "two-region.yaml" is up
    And customers make 20 payments a second, 0 % of them ignore the DNS TTL
    And 50 write probes a second measure the outage
    And 2 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    And a person on duty does what is asked by hand 200 ms after being asked
    And the person in charge approves 1 s after being asked
    When the operator runs "switchover-planned"
    And the load goes on for 5 s
    And the operator runs "failback" and is killed at every step "after-record"
    And the load goes on for 15 s
    And the drill ends
    Then no fault was injected and the harness sane
    And every step of the procedure was confirmed
    And no act was applied twice
    And customers are out for at most 60 s during the handover
    And nothing acknowledged is lost
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 0 ms
    And the end facts are those of "failback"

  @nightly @switchover
  Scenario: The operator dies, and goes on a minute later
    Given the platform of "two-region.yaml" is up
    And customers make 30 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 3 payment keys a second are repeated on purpose
    And the steady state has held for 10 s
    And the DNS record "campaign" is added, younger than the procedure
    And replication from tokyo to osaka lags by at least 300 ms
    And a person on duty does what is asked by hand 1 s after being asked
    And the person in charge approves 1 s after being asked
    When tokyo is lost
    And the person in charge decides after 3 s
    And the operator runs "switchover" and is killed at step 3 "after-act"
    And the load goes on for 60 s
    And the operator runs "switchover" again
    And the load goes on for 30 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And no act was applied twice
    And customers are out for at most 120 s after the decision
    And at most 200 acknowledged payments are lost, none of them older than 2 s
    And no acknowledged payment is dropped, and none was never durable
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms
    And the end facts are those of "switchover_forced"

  @nightly @switchover
  Scenario: The operator dies, and another one goes on
    Given the platform of "two-region.yaml" is up
    And customers make 30 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 3 payment keys a second are repeated on purpose
    And the steady state has held for 10 s
    And the DNS record "campaign" is added, younger than the procedure
    And replication from tokyo to osaka lags by at least 300 ms
    And a person on duty does what is asked by hand 1 s after being asked
    And the person in charge approves 1 s after being asked
    When tokyo is lost
    And the person in charge decides after 3 s
    And the operator runs "switchover" and is killed at step 3 "after-act"
    And another operator runs "switchover" again
    And the load goes on for 30 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And no act was applied twice
    And customers are out for at most 120 s after the decision
    And at most 200 acknowledged payments are lost, none of them older than 2 s
    And no acknowledged payment is dropped, and none was never durable
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms
    And the end facts are those of "switchover_forced"

  @nightly @switchover
  Scenario: The operator dies, and the links heal before he goes on
    Given the platform of "two-region.yaml" is up
    And customers make 30 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 3 payment keys a second are repeated on purpose
    And the steady state has held for 10 s
    And the DNS record "campaign" is added, younger than the procedure
    And replication from tokyo to osaka lags by at least 300 ms
    And a person on duty does what is asked by hand 1 s after being asked
    And the person in charge approves 1 s after being asked
    When tokyo is lost
    And the person in charge decides after 3 s
    And the operator runs "switchover" and is killed at step 3 "after-act"
    And the links heal
    And the operator runs "switchover" again
    And the load goes on for 30 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And no act was applied twice
    And customers are out for at most 120 s after the decision
    And at most 200 acknowledged payments are lost, none of them older than 2 s
    And no acknowledged payment is dropped, and none was never durable
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms
    And the end facts are those of "switchover_forced_healed"

  @nightly @switchover
  Scenario: The operator dies, and osaka loses an app node before he goes on
    Given the platform of "two-region.yaml" is up
    And customers make 30 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 3 payment keys a second are repeated on purpose
    And the steady state has held for 10 s
    And the DNS record "campaign" is added, younger than the procedure
    And replication from tokyo to osaka lags by at least 300 ms
    And a person on duty does what is asked by hand 1 s after being asked
    And the person in charge approves 1 s after being asked
    When tokyo is lost
    And the person in charge decides after 3 s
    And the operator runs "switchover" and is killed at step 7.1 "after-act"
    And osaka loses an app node
    And the operator runs "switchover" again
    And the load goes on for 30 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And no act was applied twice
    And customers are out for at most 120 s after the decision
    And at most 200 acknowledged payments are lost, none of them older than 2 s
    And no acknowledged payment is dropped, and none was never durable
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms
    And the end facts are those of "switchover_forced"
