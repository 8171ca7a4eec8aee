# Article 002, notes ※6 and ※8: the parameters by which a Cassandra cluster is formed are not those that keep it whole. Both drills
# are the same but for the parameters that the operator leaves.
#
# A node that starts without data under an address that its ring knows is refused, whatever its parameters, unless they let it take
# that place. Where they do not, operators do what Cassandra asks for: they remove the dead node and start the new one again. (On
# AWS a task that is started anew has a new address, and nobody is asked.) From there on ※6 lets it in without its data, and without
# an error: an emptied node answers, and a quorum of two of them answers that there is nothing.
@six_nodes @kept_whole
Feature: Cassandra nodes that lose their volumes
  Customers pay in Tokyo, which keeps every row on three nodes. Two of them fail, one after another, and their volumes with them; each
  is started again on an empty one, and the next fails only once it takes part and has what it missed. Does Tokyo still give what was written?

  Background:
    Given the platform of "six-nodes.yaml" is up
    And customers make 10 payments a second, 10 % of them ignore the DNS TTL
    And 20 write probes a second measure the outage
    And 2 payment keys a second are repeated on purpose
    And 60 records are kept in both regions
    And the steady state has held for 5 s

  @nightly @keeping
  Scenario: The parameters keep the cluster whole, and each node comes back with its data
    When the operator runs "examples/ring-parameters"
    And 2 of 3 Cassandra nodes of tokyo fail one after another, lose their volumes and start again
    And the planted records are read in tokyo and in osaka
    And the drill ends
    Then the volumes were lost, no link was cut, and the harness sane
    And every step of the procedure was confirmed
    And every record that was kept is there
    And nothing acknowledged is lost
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms
    And the end facts are those of the start

  @ci @known_bad @order_traps @forming_left
  Scenario: The parameters that formed the cluster are left, and each node comes back empty
    When the operator runs "known_bad/ring-parameters-left"
    And 2 of 3 Cassandra nodes of tokyo fail one after another, lose their volumes and start again
    And the planted records are read in tokyo and in osaka
    And the drill ends
    Then the volumes were lost, no link was cut, and the harness sane
    And every step of the procedure was confirmed
    And the verdict is FAIL by "local reads"
