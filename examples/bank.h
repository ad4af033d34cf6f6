/*
 * What the bank's service and its tellers agree on: the bytes of a command. All replicas of a
 * cluster are processes of one architecture, so integers are in its byte order.
 */
#ifndef BANK_H
#define BANK_H

#include <stdint.h>

#define BANK_ACCOUNTS 1024u

enum bank_operation {
    BANK_DEPOSIT = 1,  /* amount into account; the reply: its new balance */
    BANK_TRANSFER = 2, /* amount from account to other, if it has that much; the reply: 1 or 0 */
    BANK_BALANCE = 3,  /* a read: the balance of account */
    BANK_TOTAL = 4     /* a read: the sum of all accounts */
};

struct bank_command {
    uint8_t operation;
    uint8_t zero[3];
    uint32_t account;
    uint32_t other;
    uint32_t amount;
};

#endif
