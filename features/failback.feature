# 切戻: the work goes home. Here Tokyo was never lost: it handed over, and takes back.
@failback @handover
Feature: The work goes back to Tokyo in a maintenance window
  Behind the readiness gate and the approval of the person in charge, Osaka hands over to Tokyo as Tokyo did to Osaka. Both stores are
  in both regions again at the end.

  @ci
  Scenario: Osaka has served, and hands back
    Given the platform of "two-region.yaml" is up
    And customers make 20 payments a second, 0 % of them ignore the DNS TTL
    And 50 write probes a second measure the outage
    And 2 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    And a person on duty changes the DNS records 200 ms after being asked
    And the person in charge approves 1 s after being asked
    When the operator runs "switchover-planned"
    And the load goes on for 5 s
    And the operator runs "failback"
    And the load goes on for 5 s
    And the drill ends
    Then no fault was injected and the harness sane
    And every step of the procedure was confirmed
    And customers are out for at most 5 s during the handover
    And nothing acknowledged is lost
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 0 ms
    And the end facts are those of "failback"
