// Package fence decides which site may write, by a lease that time takes away.
//
// A Witness at a third site grants one lease. Beside each MySQL a Guard, its parent process, renews it. A site that is cut off
// cannot renew: its Guard makes its MySQL read-only before the lease ends by the Guard's clock, and the Witness grants the lease
// to another site only after it has ended by its own clock, and a margin. No message needs to reach the old site.
//
// The times, from one renewal:
//
//	Guard    sends ──────────────── TTL ───────────────┤        (counted from before it sent)
//	                        fences from here ──┤budget┤
//	Witness       receives ──────────────── TTL ───────────────┤── margin ──┤ somebody else may take it
//
// The margin covers how differently two clocks run within a TTL, and how late a Guard, or the watchdog beside it, is given the
// processor. It does not cover a machine that is frozen as a whole with its MySQL and both processes (a paused virtual machine):
// MySQL's first instructions after the thaw come before anybody's. What is acknowledged then is bounded by the time until either
// process runs, and found by the ledger's epoch once the servers meet. See Gray and Cheriton, "Leases" (SOSP 1989), section 5 on
// clocks; and Kleppmann, "How to do distributed locking" (2016) on processes that pause.
//
// Safety also rests on the Witness's state file. A Witness whose file was lost must stay down for a TTL and the margin, and then be
// told the right holder.
package fence
