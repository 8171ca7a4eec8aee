# The gate before article 002's 切戻: a planned switch begins only in a world that is ready for it. Each of its conditions is violated
# once in a real world, and must be refused by its name.
@ci @readiness @shares
Feature: Readiness gate
  Tokyo serves and Osaka follows. The gate lets Osaka take over; then its conditions are violated one after the other, and mended.

  Scenario: The gate refuses each of eight violations by its name
    Given the platform of "two-region.yaml" is up
    And customers make 10 payments a second, 10 % of them ignore the DNS TTL
    And 10 write probes a second measure the outage
    And 2 payment keys a second are repeated on purpose
    And the steady state has held for 3 s
    Then the readiness gate lets osaka take over from tokyo
    When "parameters" is planted in osaka, which follows tokyo, and mended once the readiness gate has refused it
    And "app version" is planted in osaka, which follows tokyo, and mended once the readiness gate has refused it
    And "errant transactions" is planted in osaka, which follows tokyo, and mended once the readiness gate has refused it
    And "replication lag" is planted in osaka, which follows tokyo, and mended once the readiness gate has refused it
    And "content differs" is planted in osaka, which follows tokyo, and mended once the readiness gate has refused it
    And "hints pending" is planted in osaka, which follows tokyo, and mended once the readiness gate has refused it
    And "ring not whole" is planted in osaka, which follows tokyo, and mended once the readiness gate has refused it
    And "binlog purged" is planted in osaka, which follows tokyo, and mended once the readiness gate has refused it
    Then the readiness gate lets osaka take over from tokyo
    When the drill ends
    Then no fault was injected and the harness sane
    And the readiness gate was right each time
