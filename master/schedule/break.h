/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules that can be broken on purpose, one at a time, in the build for the tests that the simulator
 * notices (SCHEDULE_BREAKABLE; see tests/simulation). In every other build nothing is left of this:
 * BREAKS() is the constant false.
 */
#ifndef MAYFLY_MASTER_SCHEDULE_BREAK_H
#define MAYFLY_MASTER_SCHEDULE_BREAK_H

#include <stdbool.h>

#define SCHEDULE_BREAKS(X)                                                                         \
    X(FENCE, "fence")   /* any live attempt of the subtask will do */                              \
    X(NUMBER, "number") /* an attempt is adopted whose number has a record */                      \
    X(REFUSE, "refuse") /* what runs of a held subtask is not adopted */                           \
    X(CROWD, "crowd")   /* what runs is not adopted when another attempt is live */                \
    X(LEASE, "lease")   /* a silent worker is never lost */                                        \
    X(KNOWN, "known")   /* a known worker that never joins is waited for for ever */               \
    X(HELD, "held")     /* what an earlier master may have issued is issued again at once */       \
    X(LOSE, "lose")     /* what a lost worker had is forgotten */                                  \
    X(HASTE, "haste")   /* a worker is let go whatever it has */                                   \
    X(RETAIN, "retain") /* an idle worker is never let go */                                       \
    X(GREED, "greed")   /* one worker more than there may be */                                    \
    X(STARVE, "starve") /* nobody is launched after somebody was let go */                         \
    X(FORGET, "forget") /* the memory of a finished subtask is not used again */                   \
    X(MARK, "mark")     /* the shell offers beyond the high-water mark that is durable */          \
    X(ACK, "ack")       /* the shell acknowledges before the commit */                             \
    X(REPLAN, "replan") /* a resumed shell plans what has a final record */
#define SCHEDULE_BREAK_ENUM(name, text) BREAK_##name,
enum schedule_break { BREAK_NOTHING, SCHEDULE_BREAKS(SCHEDULE_BREAK_ENUM) BREAK_COUNT };

#ifdef SCHEDULE_BREAKABLE
extern enum schedule_break schedule_broken_rule;
#define BREAKS(name) (schedule_broken_rule == BREAK_##name)
#else
#define BREAKS(name) false
#endif

#endif
