# 切戻準備: Tokyo is back on its old data, and is made fit to serve again while customers pay in Osaka (article 002, ten rows).
@failback_preparation @way_back @ci
Feature: Tokyo is prepared for the failback
  Tokyo was lost and Osaka serves. Tokyo's power returns: its old processes start on their old data, batch and all, with payments in
  them that Osaka never saw. What it alone has is salvaged, then it is wiped and formed anew from Osaka. Customers notice nothing.

  Scenario: Tokyo returns on its old data and is prepared while Osaka serves
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
    And the operator runs "failback-preparation"
    And the load goes on for 10 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And customers are out for at most 60 s after the decision
    And customers notice nothing of tokyo's return
    And customers notice nothing of the preparation
    And at most 200 acknowledged payments are lost, none of them older than 2 s
    And no acknowledged payment is dropped, and none was never durable
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms
    And the end facts are those of "failback_preparation"
