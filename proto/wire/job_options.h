/* job_options - key `job` of a method: how its jobs are run */
#ifndef WEFT_JOB_OPTIONS_H
#define WEFT_JOB_OPTIONS_H

#include <weft/descriptor.h>

/* Reads the map by the rules of SPEC.md, Descriptor.  False: `field` is what breaks one ("job.max_attempts")
 * and `rule` the rule; *options may have changed. */
bool job_options_parse(weft_span_t value, weft_job_options_t *options, char *field, size_t field_size,
                       char *rule, size_t rule_size);

/* False when nothing is said: then there is no key `job`. */
bool job_options_given(const weft_job_options_t *options);
/* Appends the map. */
bool job_options_write(weft_buf_t *out, const weft_job_options_t *options);

#endif
