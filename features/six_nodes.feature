# The region loss with three Cassandra nodes a region: quorums of two, hints and gossip over six nodes.
@nightly @six_nodes @switchover
Feature: Tokyo is lost, six Cassandra nodes
  Tokyo serves, Osaka stands by. Tokyo disappears while customers are paying; an operator brings Osaka up by the
  switchover procedure. How long were customers out, which acknowledged payments are gone, and does the money agree?

  Scenario: Tokyo is lost while customers are paying, three Cassandra nodes a region
    Given the platform of "six-nodes.yaml" is up
    And customers make 30 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 5 payment keys a second are repeated on purpose
    And the steady state has held for 10 s
    And the DNS record "campaign" is added, younger than the procedure
    And replication from tokyo to osaka lags by at least 300 ms
    And a person on duty changes the DNS records 1 s after being asked
    When tokyo is lost
    And the person in charge decides after 3 s
    And the operator runs "switchover"
    And the load goes on for 30 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And customers are out for at most 60 s after the decision
    And at most 200 acknowledged payments are lost, none of them older than 2 s
    And no acknowledged payment is dropped, and none was never durable
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms
    And the end facts are those of "switchover_forced_six_nodes"
