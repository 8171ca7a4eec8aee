# Article 002's 切替 when Tokyo is not dead but cut off: it goes on serving whoever reaches it. With the fence "none", as the article has
# it, two regions acknowledge (known_bad.feature, @zombie). With a witness Tokyo stops before Osaka may begin.
@switchover_forced @switchover @fencing
Feature: Tokyo is isolated but alive

  Background:
    Given a person on duty changes the DNS records 1 s after being asked
    And the person in charge approves 1 s after being asked
    And the platform of "two-region-witness.yaml" is up
    And customers make 30 payments a second, 20 % of them ignore the DNS TTL
    And 80 write probes a second measure the outage
    And 10 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    And replication from tokyo to osaka lags by at least 300 ms

  @nightly
  Scenario: With a witness, Tokyo is cut off from Osaka and the witness
    When tokyo is isolated from osaka and the witness but stays alive
    And the person in charge decides after 1 s
    And the operator runs "switchover-witness"
    And the load goes on for 15 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And two regions accepted writes for at most 0 ms
    And no acknowledgement comes from tokyo after osaka's first
    And at most 600 acknowledged payments are lost, none of them older than 2 s

  @nightly
  Scenario: With a witness, only what Tokyo sends is lost
    When what tokyo sends to osaka and the witness is lost, one way
    And the person in charge decides after 1 s
    And the operator runs "switchover-witness"
    And the load goes on for 25 s
    And the drill ends
    Then two regions accepted writes for at most 0 ms
    And no acknowledgement comes from tokyo after osaka's first
    And at most 600 acknowledged payments are lost, none of them older than 2 s

  @nightly
  Scenario: With a witness, the links flap below and above the lease before they stay down
    When tokyo's links to osaka and the witness flap 2 times, 2 s down and 3 s up
    And tokyo's links to osaka and the witness flap 2 times, 7 s down and 3 s up
    And osaka has caught up, and the steady state holds again for 5 s
    And tokyo is isolated from osaka and the witness but stays alive
    And the person in charge decides after 1 s
    And the operator runs "switchover-witness"
    And the load goes on for 25 s
    And the drill ends
    Then two regions accepted writes for at most 0 ms
    And no acknowledgement comes from tokyo after osaka's first
    And at most 600 acknowledged payments are lost, none of them older than 2 s

  @nightly
  Scenario: With a witness, the fencing agent of Tokyo is killed
    When tokyo is isolated from osaka and the witness but stays alive
    And the fencing agent of tokyo is killed
    And the person in charge decides after 1 s
    And the operator runs "switchover-witness"
    And the load goes on for 25 s
    And the drill ends
    Then two regions accepted writes for at most 0 ms
    And no acknowledgement comes from tokyo after osaka's first
    And at most 600 acknowledged payments are lost, none of them older than 2 s

  @nightly
  Scenario: With a witness that is killed and comes back
    When tokyo is isolated from osaka and the witness but stays alive
    And the witness is killed
    And the witness comes back after 2 s
    And the person in charge decides after 1 s
    And the operator runs "switchover-witness"
    And the load goes on for 25 s
    And the drill ends
    Then two regions accepted writes for at most 0 ms
    And no acknowledgement comes from tokyo after osaka's first
    And at most 600 acknowledged payments are lost, none of them older than 2 s

  @nightly
  Scenario: With a witness that stays lost, people decide
    When tokyo is isolated from osaka and the witness but stays alive
    And the witness is killed
    And the person in charge decides after 8 s
    And the operator runs "switchover-override"
    And the load goes on for 25 s
    And the drill ends
    Then two regions accepted writes for at most 0 ms
    And no acknowledgement comes from tokyo after osaka's first
    And at most 600 acknowledged payments are lost, none of them older than 2 s

  @nightly
  Scenario: With a witness, the operator dies once the lease is taken, and Tokyo reboots
    When tokyo is lost
    And the person in charge decides after 1 s
    And the operator runs "switchover-witness" and is killed at step 3.1 "after-record"
    And tokyo reboots, still isolated from osaka
    And the operator runs "switchover-witness" again
    And the load goes on for 25 s
    And the drill ends
    Then two regions accepted writes for at most 0 ms
    And no acknowledgement comes from tokyo after osaka's first
    And at most 600 acknowledged payments are lost, none of them older than 2 s
