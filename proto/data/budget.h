/* budget - how much work a check may still do; steps of some ten nanoseconds each */
#ifndef WEFT_BUDGET_H
#define WEFT_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t left;
    bool spent; /* more was asked for than there was */
} budget_t;

static inline bool
budget_spend(budget_t *self, uint64_t steps)
{
    if (steps > self->left) {
        self->left = 0;
        self->spent = true;
        return false;
    }
    self->left -= steps;
    return true;
}

#endif
