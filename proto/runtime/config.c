/* config - settings from the environment, overridden by flags of the same name, checked at start */
#include <weft/config.h>

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/log.h>

#include "runtime/text.h"

extern char **environ;

#define PREFIX "WEFT_"
#define PREFIX_SIZE (sizeof PREFIX - 1)
#define NAME_BYTES ((size_t) 64)
/* How much of a bad value an error shows. */
#define SHOWN_MAX ((size_t) 120)
#define EXIT_USAGE 2
/* Rows of a program's table: bits of a word. */
#define SETTINGS_MAX ((size_t) 64)

/* What every program understands. */
static const char *s_log_level;
static const char *s_log_format;
static bool s_batch;
static const weft_setting_t COMMON[] = {
    { "WEFT_LOG", WEFT_SETTING_CHOICE, &s_log_level, "info", "least level that is logged", 0, 0,
      "debug|info|warning|error|off" },
    { "WEFT_LOG_FORMAT", WEFT_SETTING_CHOICE, &s_log_format, "auto", "auto: text on a terminal, else json", 0,
      0, "auto|json|text" },
    { "WEFT_BATCH", WEFT_SETTING_BOOL, &s_batch, "off",
      "run under SCHED_BATCH: less CPU per request, far worse latency until the cores are full", 0, 0, NULL },
    { .env = NULL },
};

/* Variables of weft's other programs: not worth a warning when they are in the environment that all share. */
static const char *const KNOWN[] = {
    "WEFT_BACKEND",  "WEFT_BATCH",    "WEFT_BROKERS",    "WEFT_DATABASE_URL",
    "WEFT_DRAIN_MS", "WEFT_FRONTEND", "WEFT_HTTP",       "WEFT_INSECURE",
    "WEFT_KEYS",     "WEFT_LOG",      "WEFT_LOG_FORMAT", "WEFT_OPS",
    "WEFT_PREFETCH", "WEFT_TEST_PG",  "WEFT_THREADS",    "WEFT_WORKER_BROKERS",
};

typedef struct {
    const char *program;
    const char *summary;
    const weft_setting_t *tables[3]; /* the program's own, the common, NULL */
    uint64_t given;                  /* bit n: row n of the program's own table has a value */
} config_t;

/* The one line, then the end: nothing was started yet, so nothing needs to be undone. */
static void s_fail(const config_t *self, const char *format, ...) __attribute__((noreturn)) WEFT_PRINTF(2, 3);

static void
s_fail(const config_t *self, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void) fprintf(stderr, "%s: %s\n", self->program, length < 0 ? "bad settings" : text);
    exit(EXIT_USAGE);
}

/* `value` fit for an error line: short, and nothing that drives a terminal. */
static const char *
s_shown(char *text, size_t size, const char *value)
{
    const size_t value_size = strlen(value);
    size_t used = 0;
    for (size_t i = 0; i < value_size;) {
        const size_t length = text_character(value + i, value_size - i);
        const bool good = length > 0 && !text_is_control(value + i, length);
        const size_t width = good ? length : 1;
        if (used + width + sizeof "..." > size) {
            memcpy(text + used, "...", 3);
            used += 3;
            break;
        }
        if (good)
            memcpy(text + used, value + i, length);
        else
            text[used] = '?';
        used += width;
        i += length ? length : 1;
    }
    text[used] = '\0';
    return text;
}

/* "WEFT_LOG_FORMAT" as "log-format". */
static void
s_flag_name(const char *env, char *name)
{
    const char *at = strncmp(env, PREFIX, PREFIX_SIZE) == 0 ? env + PREFIX_SIZE : env;
    size_t i = 0;
    for (; at[i] != '\0' && i < NAME_BYTES - 1; i++) {
        const char c = at[i];
        name[i] = c == '_' ? '-' : (c >= 'A' && c <= 'Z') ? (char) (c - 'A' + 'a') : c;
    }
    name[i] = '\0';
}

bool
weft_parse_int(const char *text, int64_t min, int64_t max, int64_t *number)
{
    const bool negative = text[0] == '-';
    const char *at = negative ? text + 1 : text;
    /* Counts downwards: INT64_MIN has no positive counterpart. */
    int64_t result = 0;
    if (*at == '\0')
        return false;
    for (; *at != '\0'; at++) {
        if (*at < '0' || *at > '9')
            return false;
        if (__builtin_mul_overflow(result, 10, &result) || __builtin_sub_overflow(result, *at - '0', &result))
            return false;
    }
    if (!negative && __builtin_sub_overflow(0, result, &result))
        return false;
    if (result < min || result > max)
        return false;
    *number = result;
    return true;
}

static bool
s_is_one_of(const char *text, const char *words)
{
    const size_t size = strlen(text);
    for (const char *at = words;;) {
        const size_t length = strcspn(at, "|");
        if (size > 0 && length == size && memcmp(at, text, size) == 0)
            return true;
        if (at[length] == '\0')
            return false;
        at += length + 1;
    }
}

static void
s_mark_given(config_t *self, const weft_setting_t *setting)
{
    for (size_t row = 0; self->tables[0][row].env; row++) {
        assert(row < SETTINGS_MAX);
        if (setting == &self->tables[0][row])
            self->given |= UINT64_C(1) << row;
    }
}

/* Checks and stores one value.  `origin` is how the user wrote it: WEFT_HTTP or --http. */
static void
s_set(config_t *self, const weft_setting_t *setting, const char *origin, const char *text)
{
    char shown[SHOWN_MAX];
    const char *fault = NULL;
    s_mark_given(self, setting);
    switch (setting->type) {
    case WEFT_SETTING_STRING:
        break;
    case WEFT_SETTING_INT:
        if (!weft_parse_int(text, setting->min, setting->max, setting->value))
            s_fail(self, "%s: \"%s\" is not a whole number from %lld to %lld", origin,
                   s_shown(shown, sizeof shown, text), (long long) setting->min, (long long) setting->max);
        return;
    case WEFT_SETTING_BOOL:
        if (s_is_one_of(text, "1|true|yes|on"))
            *(bool *) setting->value = true;
        else if (s_is_one_of(text, "0|false|no|off"))
            *(bool *) setting->value = false;
        else
            s_fail(self, "%s: \"%s\" is neither yes nor no (1, true, yes, on, 0, false, no, off)", origin,
                   s_shown(shown, sizeof shown, text));
        return;
    case WEFT_SETTING_CHOICE:
        if (!s_is_one_of(text, setting->choices))
            s_fail(self, "%s: \"%s\" is none of %s", origin, s_shown(shown, sizeof shown, text),
                   setting->choices);
        break;
    case WEFT_SETTING_ENDPOINTS:
        fault = weft_endpoints_fault(text);
        break;
    case WEFT_SETTING_ADDRESS:
        if (text[0] != '\0' || !setting->fallback || setting->fallback[0] != '\0')
            fault = weft_address_fault(text);
        break;
    }
    if (fault)
        s_fail(self, "%s: \"%s\": %s", origin, s_shown(shown, sizeof shown, text), fault);
    *(const char **) setting->value = text;
}

static const char *
s_value_word(weft_setting_type_t type)
{
    switch (type) {
    case WEFT_SETTING_STRING:
        return "TEXT";
    case WEFT_SETTING_INT:
        return "NUMBER";
    case WEFT_SETTING_BOOL:
        return "";
    case WEFT_SETTING_CHOICE:
        return "WORD";
    case WEFT_SETTING_ENDPOINTS:
        return "ENDPOINTS";
    case WEFT_SETTING_ADDRESS:
        return "[HOST:]PORT";
    }
    return "";
}

static void
s_print_setting(const weft_setting_t *setting)
{
    char name[NAME_BYTES];
    char flag[NAME_BYTES * 2];
    const char *word = s_value_word(setting->type);
    s_flag_name(setting->env, name);
    (void) printf("  %-32s %s\n", weft_format(flag, sizeof flag, "--%s%s%s", name, word[0] ? " " : "", word),
                  setting->env);
    (void) printf("      %s", setting->help);
    if (setting->type == WEFT_SETTING_CHOICE)
        (void) printf(" (%s)", setting->choices);
    if (setting->type == WEFT_SETTING_INT)
        (void) printf(" (%lld to %lld)", (long long) setting->min, (long long) setting->max);
    if (!setting->fallback)
        (void) printf("; required\n");
    else
        (void) printf("; default: %s\n", setting->fallback[0] ? setting->fallback : "empty");
}

static void
s_help(const config_t *self, bool takes_rest)
{
    (void) printf("%s %s: %s\n\nUsage: %s [--SETTING VALUE]...%s\n\n", self->program, weft_version(),
                  self->summary, self->program, takes_rest ? " [--] [ARGUMENT]..." : "");
    (void) printf("Each setting is a flag or an environment variable; the flag wins.\n\n");
    for (size_t t = 0; self->tables[t]; t++) {
        for (const weft_setting_t *setting = self->tables[t]; setting->env; setting++)
            s_print_setting(setting);
    }
    (void) printf("  --help\n      this text\n  --version\n      the version\n");
    exit(fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* Where `name` is a flag of the tables: its row, else NULL. */
static const weft_setting_t *
s_find_flag(const config_t *self, weft_span_t name)
{
    char flag[NAME_BYTES];
    for (size_t t = 0; self->tables[t]; t++) {
        for (const weft_setting_t *setting = self->tables[t]; setting->env; setting++) {
            s_flag_name(setting->env, flag);
            if (weft_span_equal(name, weft_span(flag)))
                return setting;
        }
    }
    return NULL;
}

/* Levenshtein distance of two names, by two rows (Wagner and Fischer 1974); large for long names. */
static size_t
s_distance(weft_span_t a, weft_span_t b)
{
    size_t row[NAME_BYTES];
    if (a.size >= NAME_BYTES || b.size >= NAME_BYTES)
        return NAME_BYTES;
    for (size_t j = 0; j <= b.size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            const size_t above = row[j];
            size_t best = diagonal + (a.data[i - 1] != b.data[j - 1]);
            best = above + 1 < best ? above + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[b.size];
}

/* One slip in a short name, two in a longer one. */
static bool
s_resembles(weft_span_t name, weft_span_t known)
{
    const size_t slips = known.size - PREFIX_SIZE <= 4 ? 1 : 2;
    return s_distance(name, known) <= slips;
}

static const weft_setting_t *
s_find_resembling(const config_t *self, weft_span_t name)
{
    for (size_t t = 0; self->tables[t]; t++) {
        for (const weft_setting_t *setting = self->tables[t]; setting->env; setting++) {
            const weft_span_t known = weft_span(setting->env);
            if (known.size > PREFIX_SIZE && s_resembles(name, known))
                return setting;
        }
    }
    return NULL;
}

static bool
s_is_known(const config_t *self, weft_span_t name)
{
    for (size_t i = 0; i < sizeof KNOWN / sizeof KNOWN[0]; i++) {
        if (weft_span_equal(name, weft_span(KNOWN[i])))
            return true;
    }
    for (size_t t = 0; self->tables[t]; t++) {
        for (const weft_setting_t *setting = self->tables[t]; setting->env; setting++) {
            if (weft_span_equal(name, weft_span(setting->env)))
                return true;
        }
    }
    return false;
}

/* A misspelt variable would otherwise be passed over in silence. */
static void
s_warn_of_slips(const config_t *self)
{
    char shown[SHOWN_MAX];
    for (char **at = environ; at && *at; at++) {
        const weft_span_t name = { *at, strcspn(*at, "=") };
        if (name.size <= PREFIX_SIZE || name.size >= NAME_BYTES ||
            memcmp(name.data, PREFIX, PREFIX_SIZE) != 0 || s_is_known(self, name))
            continue;
        const weft_setting_t *meant = s_find_resembling(self, name);
        if (!meant)
            continue;
        char copy[NAME_BYTES];
        memcpy(copy, name.data, name.size);
        copy[name.size] = '\0';
        weft_log_warning("unknown variable in the environment",
                         WEFT_STR("name", s_shown(shown, sizeof shown, copy)), WEFT_STR("meant", meant->env));
    }
}

static void
s_load_environment(config_t *self)
{
    for (size_t t = 0; self->tables[t]; t++) {
        for (const weft_setting_t *setting = self->tables[t]; setting->env; setting++) {
            const char *text = getenv(setting->env);
            if (text && text[0] != '\0')
                s_set(self, setting, setting->env, text);
            else if (setting->fallback)
                s_set(self, setting, setting->env, setting->fallback);
        }
    }
}

/* The flag in argv[*i]; moves *i where the value is an argument of its own. */
static void
s_load_flag(config_t *self, int argc, char **argv, int *i, bool takes_rest)
{
    char shown[SHOWN_MAX];
    char origin[NAME_BYTES + 2];
    const char *flag = argv[*i] + 2;
    const weft_span_t name = { flag, strcspn(flag, "=") };
    if (weft_span_equal(name, WEFT_SPAN("help")) && flag[name.size] == '\0')
        s_help(self, takes_rest);
    if (weft_span_equal(name, WEFT_SPAN("version")) && flag[name.size] == '\0') {
        (void) printf("%s %s\n", self->program, weft_version());
        exit(fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    const weft_setting_t *setting = s_find_flag(self, name);
    if (!setting)
        s_fail(self, "unknown flag \"%s\" (--help lists all)", s_shown(shown, sizeof shown, argv[*i]));
    weft_format(origin, sizeof origin, "--%.*s", (int) name.size, name.data);
    if (flag[name.size] == '=')
        s_set(self, setting, origin, flag + name.size + 1);
    else if (setting->type == WEFT_SETTING_BOOL)
        s_set(self, setting, origin, "on");
    else if (*i + 1 < argc)
        s_set(self, setting, origin, argv[++*i]);
    else
        s_fail(self, "%s: a value is missing", origin);
}

static void
s_load_arguments(config_t *self, int argc, char **argv, char ***rest, int *rest_count)
{
    char shown[SHOWN_MAX];
    int kept = 0; /* arguments of the program gather at argv[1], argv[2], ... */
    bool flags_end = false;
    for (int i = 1; i < argc; i++) {
        if (!flags_end && strcmp(argv[i], "--") == 0)
            flags_end = true;
        else if (!flags_end && strncmp(argv[i], "--", 2) == 0)
            s_load_flag(self, argc, argv, &i, rest != NULL);
        else if (rest)
            argv[1 + kept++] = argv[i];
        else
            s_fail(self, "unexpected argument \"%s\" (--help lists all flags)",
                   s_shown(shown, sizeof shown, argv[i]));
    }
    if (rest)
        *rest = argc > 0 ? argv + 1 : argv;
    if (rest_count)
        *rest_count = kept;
}

/* Only a program's own settings may be without a default. */
static void
s_require_all(const config_t *self)
{
    char flag[NAME_BYTES];
    for (size_t row = 0; self->tables[0][row].env; row++) {
        const weft_setting_t *setting = &self->tables[0][row];
        if ((self->given & UINT64_C(1) << row) != 0)
            continue;
        s_flag_name(setting->env, flag);
        s_fail(self, "%s (or --%s) is required: %s", setting->env, flag, setting->help);
    }
}

static weft_log_level_t
s_level(const char *name)
{
    static const char *const NAMES[] = { "debug", "info", "warning", "error" };
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (strcmp(name, NAMES[i]) == 0)
            return (weft_log_level_t) i;
    }
    return WEFT_LOG_OFF;
}

static weft_log_format_t
s_format(const char *name)
{
    return strcmp(name, "json") == 0   ? WEFT_LOG_JSON
           : strcmp(name, "text") == 0 ? WEFT_LOG_TEXT
                                       : WEFT_LOG_AUTO;
}

/* Threads inherit it, hence before the first one. */
static void
s_enter_batch(void)
{
    const struct sched_param parameters = { .sched_priority = 0 };
    char reason[128];
    if (sched_setscheduler(0, SCHED_BATCH, &parameters) != 0)
        weft_log_info("could not enter SCHED_BATCH: going on without it",
                      WEFT_STR("reason", strerror_r(errno, reason, sizeof reason)));
}

void
weft_config_load(const char *component, const char *summary, const weft_setting_t *settings, int argc,
                 char **argv, char ***rest, int *rest_count)
{
    config_t self = { .program = component, .summary = summary, .tables = { settings, COMMON, NULL } };
    if (argc > 0 && argv[0]) {
        const char *slash = strrchr(argv[0], '/');
        self.program = slash ? slash + 1 : argv[0];
    }
    /* Flags first for --help and --version alone: these answer whatever the environment holds. */
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "--version") == 0)
            s_load_flag(&self, argc, argv, &i, rest != NULL);
    }
    const char *keys = getenv("WEFT_KEYS");
    if (keys && keys[0] != '\0')
        s_fail(&self, "WEFT_KEYS: CURVE is not part of this version");
    s_load_environment(&self);
    s_load_arguments(&self, argc, argv, rest, rest_count);
    s_require_all(&self);
    weft_log_setup(component, s_level(s_log_level), s_format(s_log_format));
    s_warn_of_slips(&self);
    if (s_batch)
        s_enter_batch();
}
