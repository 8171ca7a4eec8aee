# Planted truth about payments that were interrupted: each of these drills carries one defect, and must fail by the named check.
@known_bad_payments @known_bad
Feature: Known bad, interrupted payments

  Background:
    Given a person on duty changes the DNS records 1 s after being asked

  @blind_cancel @ci
  Scenario: An app that is started cancels what it finds pending, and asks nobody
    Given interrupted payments are reconciled once they are 5 s old
    And the app has the defect "blind-cancel"
    And the platform of "two-region.yaml" is up
    And customers make 35 payments a second, 10 % of them ignore the DNS TTL
    And 10 write probes a second measure the outage
    And 10 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    And the acquirer takes 1 s before it charges every 2nd payment, and 250 ms to answer each
    When tokyo is lost
    And the acquirer answers at once again
    And the person in charge decides after 1 s
    And the operator runs "switchover"
    And the load goes on for 12 s
    And the drill ends
    Then the verdict is FAIL by "in flight"

  @blind_retry @ci
  Scenario: An app that is started charges again what it finds pending, and asks nobody
    Given interrupted payments are reconciled once they are 5 s old
    And the app has the defect "blind-retry"
    And the platform of "two-region.yaml" is up
    And customers make 35 payments a second, 10 % of them ignore the DNS TTL
    And 10 write probes a second measure the outage
    And 10 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    And the acquirer takes 1 s before it charges every 2nd payment, and 250 ms to answer each
    When tokyo is lost
    And the acquirer answers at once again
    And the person in charge decides after 1 s
    And the operator runs "switchover"
    And the load goes on for 12 s
    And the drill ends
    Then the verdict is FAIL by "double charge"

  @no_reconciler @ci
  Scenario: Nobody reconciles what was interrupted
    Given nobody reconciles interrupted payments
    And the platform of "two-region.yaml" is up
    And customers make 35 payments a second, 10 % of them ignore the DNS TTL
    And 10 write probes a second measure the outage
    And 10 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    And replication from tokyo to osaka lags by at least 500 ms
    And the acquirer takes 1 s before it charges every 2nd payment, and 250 ms to answer each
    When tokyo is lost
    And the acquirer answers at once again
    And the person in charge decides after 1 s
    And the operator runs "switchover"
    And the load goes on for 12 s
    And the drill ends
    Then the verdict is FAIL by "reconciled"

  @cached_answer @ci
  Scenario: The app answers from what the acquirer knows, and its stores hold nothing
    Given interrupted payments are reconciled once they are 5 s old
    And the app has the defect "cached-answer"
    And the platform of "two-region.yaml" is up
    And customers make 35 payments a second, 10 % of them ignore the DNS TTL
    And 10 write probes a second measure the outage
    And 20 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    And replication from tokyo to osaka lags by at least 500 ms
    And the acquirer takes 1 s before it charges every 2nd payment, and 250 ms to answer each
    When tokyo is lost
    And the acquirer answers at once again
    And the person in charge decides after 1 s
    And the operator runs "switchover"
    And the load goes on for 12 s
    And the drill ends
    Then the verdict is FAIL by "same answer"

  @touch_young @ci @alone
  Scenario: The reconciler touches payments however young they are
    Given interrupted payments are reconciled once they are 5 s old
    And the reconciler has the defect "touch-young"
    And the platform of "two-region.yaml" is up
    And customers make 50 payments a second, 10 % of them ignore the DNS TTL
    And 5 write probes a second measure the outage
    And 8 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    And replication from tokyo to osaka lags by at least 500 ms
    And the acquirer takes 1 s before it charges every 2nd payment, and 250 ms to answer each
    And the reconciler is at work in tokyo
    When the load goes on for 20 s
    And tokyo is lost
    And the acquirer answers at once again
    And the person in charge decides after 1 s
    And the operator runs "switchover"
    And the load goes on for 12 s
    And the drill ends
    Then the verdict is FAIL by "reconciled"
