/* log_counts - how many lines were logged, for the metrics (inside runtime only) */
#ifndef WEFT_RUNTIME_LOG_COUNTS_H
#define WEFT_RUNTIME_LOG_COUNTS_H

#include <stdint.h>

#include <weft/log.h>

/* Lines written at this level; any thread. */
uint64_t log_lines(weft_log_level_t level);
/* Lines that standard error did not take; any thread. */
uint64_t log_lines_lost(void);

#endif
