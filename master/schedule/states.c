/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of states.h in two forms: as written, and as a matrix for one look-up per event. Both
 * come from the same lists, so they can't differ; an edge that is written twice with different ends
 * is a compiler warning (-Woverride-init) in the matrix and found by the test in the list.
 */
#include "master/schedule/states.h"

#define EDGE(from, event, to) {from, event, to},
/* One more than the state, so that 0 means that there is no edge. */
#define CELL(from, event, to) [from][event] = (unsigned char)((to) + 1),
#define NAME(name, text) [name] = text,

const struct schedule_edge subtask_edges[] = {SUBTASK_EDGES(EDGE)};
const struct schedule_edge worker_edges[] = {WORKER_EDGES(EDGE)};
const struct schedule_edge run_edges[] = {RUN_EDGES(EDGE)};
const unsigned subtask_edge_count = sizeof subtask_edges / sizeof *subtask_edges;
const unsigned worker_edge_count = sizeof worker_edges / sizeof *worker_edges;
const unsigned run_edge_count = sizeof run_edges / sizeof *run_edges;

static const unsigned char subtask_matrix[SUBTASK_STATE_COUNT][SUBTASK_EVENT_COUNT] = {
    SUBTASK_EDGES(CELL)};
static const unsigned char worker_matrix[WORKER_STATE_COUNT][WORKER_EVENT_COUNT] = {
    WORKER_EDGES(CELL)};
static const unsigned char run_matrix[RUN_STATE_COUNT][RUN_EVENT_COUNT] = {RUN_EDGES(CELL)};

static const char *const subtask_states[] = {SUBTASK_STATES(NAME)};
static const char *const subtask_events[] = {SUBTASK_EVENTS(NAME)};
static const char *const worker_states[] = {WORKER_STATES(NAME)};
static const char *const worker_events[] = {WORKER_EVENTS(NAME)};
static const char *const run_states[] = {SCHEDULE_RUN_STATES(NAME)};
static const char *const run_events[] = {RUN_EVENTS(NAME)};

#define PICK(names, i) ((unsigned)(i) < sizeof(names) / sizeof *(names) ? (names)[i] : "unknown")

int subtask_edge(enum subtask_state from, enum subtask_event event)
{
    return (int)subtask_matrix[from][event] - 1;
}

int worker_edge(enum worker_state from, enum worker_event event)
{
    return (int)worker_matrix[from][event] - 1;
}

int run_edge(enum run_state from, enum run_event event)
{
    return (int)run_matrix[from][event] - 1;
}

const char *subtask_state_name(enum subtask_state state)
{
    return PICK(subtask_states, state);
}

const char *subtask_event_name(enum subtask_event event)
{
    return PICK(subtask_events, event);
}

const char *worker_state_name(enum worker_state state)
{
    return PICK(worker_states, state);
}

const char *worker_event_name(enum worker_event event)
{
    return PICK(worker_events, event);
}

const char *run_state_name(enum run_state state)
{
    return PICK(run_states, state);
}

const char *run_event_name(enum run_event event)
{
    return PICK(run_events, event);
}
