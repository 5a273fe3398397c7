/* Which thread runs first when there are more of them than processors.
 *
 * Left alone, the scheduler gives every thread a slice of about 3 ms, and on a kernel that preempts at its clock tick a
 * thread that wakes may wait 4 ms behind one that computes. Few threads of ours are waited for and compute little at a
 * time (the writer of the record store); some compute long and nobody waits (the feeds). Both say so here: a short
 * slice preempts a longer one at once, a long one gives way. The share of the processor stays fair, so nobody starves.
 *
 * Linux 6.12 and later; elsewhere, and where a policy of its own was chosen for the process, nothing changes.
 * Rejected: nice values for the writer (a privilege), SCHED_IDLE for the feeds (on a busy machine they would never
 * catch up). */
#ifndef BASE_TURN_H
#define BASE_TURN_H

void turn_first(void); /* the calling thread is waited for: it runs soon and for a short while */
/* the calling thread gives way, with a share of the processor smaller by `nicer` steps */
void turn_give_way(int nicer);

#endif
