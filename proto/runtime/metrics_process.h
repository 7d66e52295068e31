/* metrics_process - what the kernel knows of this process, as Prometheus text (inside runtime only) */
#ifndef WEFT_RUNTIME_METRICS_PROCESS_H
#define WEFT_RUNTIME_METRICS_PROCESS_H

#include <weft/buf.h>

/* Adds process_* (names and meaning: Prometheus client libraries), weft_build_info and weft_log_*.  What
 * cannot be read is left out.  Any thread. */
void metrics_process_render(weft_buf_t *out);
/* Bytes of memory that are resident; 0 where that cannot be read.  Any thread. */
int64_t metrics_process_resident(void);

#endif
