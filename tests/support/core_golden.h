/*
 * Golden traces: a scripted scenario of the core rig records what one rule makes the cores do,
 * and the text is compared byte for byte with tests/golden/consensus/<rule>.trace. A program
 * started with --update rewrites its traces instead. Test thread only.
 */
#ifndef LKS_TESTS_SUPPORT_CORE_GOLDEN_H
#define LKS_TESTS_SUPPORT_CORE_GOLDEN_H

#include "tests/support/core_rig.h"

#define GOLDEN_NODE(n) (1u << (n))

/* Reads --update from the command line. */
void golden_init(int argc, char **argv);

/* From here on the replicas in the set `nodes` are traced. */
void golden_begin(struct rig *rig, uint32_t nodes);

/* A remark of the script in the trace: what it makes happen next. */
#define golden_say(rig, ...) (rig_trace_line(rig, "# " __VA_ARGS__), rig_trace_line(rig, "\n"))

/* Ends the trace and compares it; a difference fails the test and prints the new text. */
void golden_end(struct rig *rig, const char *rule, const char *shows);

#endif
