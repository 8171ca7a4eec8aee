# 切替 while nothing is lost: Tokyo hands its work over, and it can be called off until the point of commitment.
@switchover_planned @handover
Feature: Tokyo hands over to Osaka while both are healthy
  Customers go on paying. Everything slow happens before they notice; the old writer is fenced while it is up, and the new one is
  promoted only when it is proved to hold every transaction and every row.

  Background:
    Given the platform of "two-region.yaml" is up
    And customers make 20 payments a second, 0 % of them ignore the DNS TTL
    And 50 write probes a second measure the outage

  # make test plays it with the way back, in failback.feature.
  @nightly
  Scenario: Tokyo hands over under load
    Given 5 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    And the DNS record "campaign" is added, younger than the procedure
    And a person on duty changes the DNS records 200 ms after being asked
    When the operator runs "switchover-planned"
    And the load goes on for 5 s
    And the drill ends
    Then no fault was injected and the harness sane
    And every step of the procedure was confirmed
    And customers are out for at most 5 s during the planned switchover
    And nothing acknowledged is lost
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 0 ms
    And the end facts are those of "switchover_planned"

  @nightly
  Scenario: The drain cannot be reached, and everything is taken back
    Given 5 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    When the operator runs "switchover-planned" and is killed at step 2.5 "before-intent"
    And MySQL traffic between tokyo and osaka is cut
    And the operator runs "switchover-planned", and everything is taken back
    And MySQL traffic between tokyo and osaka flows again
    And the load goes on for 5 s
    And the drill ends
    Then the fault was real, no region was lost, and the harness sane
    And nothing acknowledged is lost
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 0 ms
    And the procedure was taken back, and everything is as it was

  @nightly
  Scenario: The person in charge calls it off before the flip
    Given 15 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    When the operator runs "switchover-planned" and is killed at step 2.8 "before-intent"
    And the person in charge has "switchover-planned" taken back
    And the load goes on for 5 s
    And the drill ends
    Then no fault was injected and the harness sane
    And nothing acknowledged is lost
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 0 ms
    And the procedure was taken back, and everything is as it was
