# Planted truth: the rows of the failback preparation in a wrong order, each found by its named check. Cassandra itself reports
# no error in any of them.
@known_bad @order_traps @ci
Feature: Order traps of the Cassandra ring

  Background:
    Given the platform of "two-region.yaml" is up
    And 20 records are kept in both regions, and 20 more that will be deleted

  @reads_before_rebuild
  Scenario: Tokyo is read after it was put into the keyspaces, and before it was rebuilt
    When the operators deny cassandra's traffic between tokyo and osaka
    And the operator runs "known_bad/preparation-without-rebuild"
    And the planted records are read in tokyo and in osaka
    And the drill ends
    Then the verdict is FAIL by "local reads"

  @opened_beside_old
  Scenario: The network is opened while the old Cassandra of Tokyo runs
    When the operators deny cassandra's traffic between tokyo and osaka
    And tokyo takes 20 records behind the cut
    And the operator runs "known_bad/preparation-opens-early"
    And the planted records are read in tokyo and in osaka
    And the drill ends
    Then the verdict is FAIL by "zombie rows"

  @old_volumes
  Scenario: Tokyo joins again with its old volumes
    When the operators deny cassandra's traffic between tokyo and osaka
    And osaka deletes the records that were to be deleted, and forgets that it did
    And the operator runs "known_bad/preparation-old-volumes"
    And the planted records are read in tokyo and in osaka
    And the drill ends
    Then the verdict is FAIL by "deleted rows"
