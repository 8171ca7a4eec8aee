# Planted truth: each of these drills carries one defect, and must give the verdict by the named check. A harness that
# lets one of them pass is not worth its green.
@known_bad @ci
Feature: Known bad

  Background:
    Given a person on duty changes the DNS records 1 s after being asked

  @no_drain
  Scenario: The procedure promotes without draining what was received
    Given the platform of "two-region.yaml" is up
    And customers make 20 payments a second, 10 % of them ignore the DNS TTL
    And 10 write probes a second measure the outage
    And 5 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    And osaka applies what it receives 2 s late
    When tokyo is lost
    And the person in charge decides after 1 s
    And the operator runs "known_bad/switchover-no-drain"
    And the load goes on for 5 s
    And the drill ends
    Then the verdict is FAIL by "dropped"

  @ack_before_commit
  Scenario: The app acknowledges before it commits
    Given the app has the defect "ack-before-commit"
    And the platform of "two-region.yaml" is up
    And customers make 20 payments a second, 10 % of them ignore the DNS TTL
    And 10 write probes a second measure the outage
    And 5 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    When tokyo is lost
    And the person in charge decides after 1 s
    And the operator runs "switchover"
    And the load goes on for 5 s
    And the drill ends
    Then the verdict is FAIL by "never durable"

  @new_request_key
  Scenario: The app asks the acquirer with a new request key for every attempt
    Given the app has the defect "new-request-key"
    And the platform of "two-region.yaml" is up
    And customers make 20 payments a second, 10 % of them ignore the DNS TTL
    And 10 write probes a second measure the outage
    And 15 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    And replication from tokyo to osaka lags by at least 300 ms
    When tokyo is lost
    And the person in charge decides after 1 s
    And the operator runs "switchover"
    And the load goes on for 12 s
    And the drill ends
    Then the verdict is FAIL by "double charge"

  @zombie
  Scenario: Tokyo is isolated but alive, and nobody fences it
    Given the platform of "two-region.yaml" is up
    And customers make 20 payments a second, 20 % of them ignore the DNS TTL
    And 10 write probes a second measure the outage
    And 5 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    When tokyo is isolated from osaka but stays alive
    And the person in charge decides after 1 s
    And the operator runs "switchover"
    And the load goes on for 5 s
    And the drill ends
    Then the verdict is FAIL by "one writer"

  @bypass
  Scenario: The fault API answers OK while traffic goes around the proxy
    Given traffic between the sites goes around the proxies
    And the platform of "two-region.yaml" is up
    And customers make 30 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 5 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    When tokyo is lost
    And the person in charge decides after 1 s
    And the operator runs "switchover"
    And the load goes on for 5 s
    And the drill ends
    Then the verdict is INCONCLUSIVE by "fault real"

  @thin @shares
  Scenario: The load is too thin to say anything
    Given the platform of "two-region.yaml" is up
    And customers make 2 payments a second, 10 % of them ignore the DNS TTL
    And 4 write probes a second measure the outage
    And 1 payment key a second is repeated on purpose
    And the steady state has held for 3 s
    When tokyo is lost
    And the person in charge decides after 1 s
    And the operator runs "switchover"
    And the load goes on for 12 s
    And the drill ends
    Then the verdict is INCONCLUSIVE by "recovery time"

  @operator_killed
  Scenario: The operator dies after the act of step 2, before it is recorded, and the procedure is resumed
    Given the platform of "two-region.yaml" is up
    And customers make 30 payments a second, 10 % of them ignore the DNS TTL
    And 60 write probes a second measure the outage
    And 5 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    And the DNS record "campaign" is added, younger than the procedure
    And replication from tokyo to osaka lags by at least 300 ms
    When tokyo is lost
    And the person in charge decides after 3 s
    And the operator runs "switchover" and is killed at step 2 "after-act"
    And the operator runs "switchover" again
    And the load goes on for 15 s
    And the drill ends
    Then the verdict is PASS
    And the end facts are those of "switchover_forced"

  @dead_is_fenced
  Scenario: The fence was confirmed while Tokyo was down; the operator dies, and Tokyo reboots
    Given the platform of "two-region.yaml" is up
    And customers make 20 payments a second, 20 % of them ignore the DNS TTL
    And 10 write probes a second measure the outage
    And 5 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    When tokyo is lost
    And the person in charge decides after 1 s
    And the operator runs "known_bad/switchover-dead-is-fenced" and is killed at step 4 "after-record"
    And tokyo reboots, still isolated from osaka
    And the operator runs "known_bad/switchover-dead-is-fenced" again
    And the load goes on for 5 s
    And the drill ends
    Then the verdict is FAIL by "one writer"
