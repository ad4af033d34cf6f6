/*
 * One argument of a client's command as it came over the wire: binary, not terminated. The port
 * that parsed the command owns the bytes; they are valid during the call that they are given to.
 */
#ifndef LOCKSTEP_ARGUMENT_H
#define LOCKSTEP_ARGUMENT_H

#include <stddef.h>

struct lks_argument {
    const char *data; /* never NULL, also where bytes is 0 */
    size_t bytes;
};

#endif
