# Article 001: payments that a failure interrupts are moved forward, and what cannot be is given back (前進復旧, 突合).
@interrupted_payments @switchover
Feature: Payments are interrupted
  A slow acquirer keeps many payments in flight, some charged, some not, when Tokyo is lost. Does each of them end as the
  acquirer says? Do ledger, journal and acquirer agree in the end, and is anything lost that somebody still knows?

  Background:
    Given a person on duty changes the DNS records 1 s after being asked

  @nightly
  Scenario: Payments in flight when Tokyo is lost end as the acquirer says
    Given interrupted payments are reconciled once they are 5 s old
    And the platform of "two-region.yaml" is up
    And customers make 50 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 10 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    And journal events of tokyo reach osaka 1 s late
    And replication from tokyo to osaka lags by at least 500 ms
    And the acquirer takes 1 s before it charges every 2nd payment, and 250 ms to answer each
    When tokyo is lost
    And the acquirer answers at once again
    And the person in charge decides after 1 s
    And the operator runs "switchover"
    And the load goes on for 15 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And every payment in flight at the cut ended as the acquirer says
    And after reconciliation both stores agree and nothing that the acquirer or the salvage knows is lost
    And the same key got the same answer
    And customers are out for at most 60 s after the decision
    And at most 200 acknowledged payments are lost, none of them older than 2 s
    And no acknowledged payment is dropped, and none was never durable
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms

  @nightly
  Scenario: Payments in flight end as the acquirer says, and a reconciler was at work in Tokyo all the time
    Given interrupted payments are reconciled once they are 5 s old
    And the platform of "two-region.yaml" is up
    And customers make 50 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 10 payment keys a second are repeated on purpose
    And the reconciler is at work in tokyo
    And the steady state has held for 5 s
    And journal events of tokyo reach osaka 1 s late
    And replication from tokyo to osaka lags by at least 500 ms
    And the acquirer takes 1 s before it charges every 2nd payment, and 250 ms to answer each
    When tokyo is lost
    And the acquirer answers at once again
    And the person in charge decides after 1 s
    And the operator runs "switchover"
    And the load goes on for 25 s
    And the drill ends
    Then the fault was real and the harness sane
    And every step of the procedure was confirmed
    And every payment in flight at the cut ended as the acquirer says
    And after reconciliation both stores agree and nothing that the acquirer or the salvage knows is lost
    And the same key got the same answer
    And customers are out for at most 60 s after the decision
    And at most 200 acknowledged payments are lost, none of them older than 2 s
    And no acknowledged payment is dropped, and none was never durable
    And no customer is charged twice
    And money is conserved in every snapshot
    And the stores agree but for the losses
    And two regions accepted writes for at most 50 ms
