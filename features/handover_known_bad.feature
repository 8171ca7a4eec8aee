# Order traps of the handover: each is a procedure that looks right, and each fails by its named check.
@handover @known_bad @ci
Feature: Planned switchovers that are planned badly

  Background:
    Given the platform of "two-region.yaml" is up
    And customers make 20 payments a second, 0 % of them ignore the DNS TTL
    And 50 write probes a second measure the outage
    And 2 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    And the DNS record "campaign" is added, younger than the procedure
    And a person on duty changes the DNS records 200 ms after being asked
    And the person in charge approves 8 s after being asked

  @shares
  Scenario: DNS before the promotion
    When the operator runs "known_bad/switchover-planned-dns-first"
    And the load goes on for 5 s
    And the drill ends
    Then no fault was injected and the harness sane
    And customers are out for at most 5 s during the planned switchover
    And the verdict is FAIL by "planned outage"

  Scenario: a DNS record younger than the procedure is forgotten
    When the operator runs "known_bad/switchover-planned-listed-dns"
    And the load goes on for 5 s
    And the drill ends
    Then no fault was injected and the harness sane
    And the end facts are those of "switchover_planned"
    And the verdict is FAIL by "end facts"
