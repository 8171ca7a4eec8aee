# There and back: everything that article 002 describes, in one drill, under load that never stops.
@round_trip @way_back @ci_docker
Feature: The round trip
  Tokyo is lost, Osaka takes over. Tokyo returns, is prepared, and takes its work back in a maintenance window. In the end everything
  is as it was at the start, but for the epoch: roles, replication, ring, keyspaces, parameters, DNS, links, batch, nodes.

  Scenario: Tokyo is lost, returns, is prepared, and serves again
    Given the platform of "two-region-witness.yaml" is up
    And customers make 20 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 3 payment keys a second are repeated on purpose
    And the steady state has held for 10 s
    And replication from tokyo to osaka lags by at least 300 ms
    And a person on duty does what is asked by hand 200 ms after being asked
    And the person in charge approves 1 s after being asked
    When tokyo is lost
    And the person in charge decides after 3 s
    And the operator runs "switchover-witness"
    And the load goes on for 5 s
    And tokyo returns on its old data
    And the operator runs "failback-preparation"
    And customers could reach tokyo again
    And the load goes on for 5 s
    And the operator runs "failback"
    And the load goes on for 12 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And customers are out for at most 60 s after the decision
    And customers notice nothing of the preparation
    And customers are out for at most 5 s during the failback
    And at most 200 acknowledged payments are lost, none of them older than 2 s
    And no acknowledged payment is dropped, and none was never durable
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms
    And the end facts are those of the start
