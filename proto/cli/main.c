/* weft - the command-line program: calls services and shows what the brokers know */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/config.h>
#include <weft/log.h>

#include "cli/options.h"

static void
s_usage(FILE *to)
{
    (void) fprintf(to, "usage: weft COMMAND [ARGUMENTS] [OPTIONS]\n\ncommands:\n");
    for (const cli_command_t *command = CLI_COMMANDS; command->name; command++) {
        char left[64];
        (void) snprintf(left, sizeof left, "%s %s", command->name, command->arguments);
        (void) fprintf(to, "  %-30s %s\n", left, command->summary);
    }
    (void) fprintf(to, "  %-30s %s\n", "help [COMMAND]", "shows this, or the options of a command");
}

static void
s_exit_codes(void)
{
    (void) printf("\nexit status: 0 done, 1 trouble of its own, 2 wrong usage, 3 the call failed,\n"
                  "4 unavailable, too busy or not in time\n");
}

static const cli_command_t *
s_find(const char *name)
{
    for (const cli_command_t *command = CLI_COMMANDS; command->name; command++) {
        if (strcmp(command->name, name) == 0) {
            return command;
        }
    }
    return NULL;
}

static int
s_help(const char *name)
{
    const cli_command_t *command = name ? s_find(name) : NULL;
    if (name && !command) {
        cli_complain("unknown command '%.60s'; weft help lists them", name);
        return EXIT_USAGE;
    }
    if (command) {
        (void) printf("usage: weft %s %s [OPTIONS]\n\n%s\n", command->name, command->arguments,
                      command->summary);
    } else {
        s_usage(stdout);
    }
    (void) printf("\noptions:\n");
    options_help(name);
    s_exit_codes();
    return EXIT_FINE;
}

/* Calls log little: what went wrong is said by the command. */
static void
s_setup_log(void)
{
    static const struct {
        const char *name;
        weft_log_level_t level;
    } LEVELS[] = { { "debug", WEFT_LOG_DEBUG },
                   { "info", WEFT_LOG_INFO },
                   { "warning", WEFT_LOG_WARNING },
                   { "error", WEFT_LOG_ERROR } };
    const char *wanted = getenv("WEFT_LOG");
    weft_log_level_t level = WEFT_LOG_OFF;
    for (size_t i = 0; i < sizeof LEVELS / sizeof LEVELS[0]; i++) {
        if (wanted && strcmp(wanted, LEVELS[i].name) == 0) {
            level = LEVELS[i].level;
        }
    }
    weft_log_setup("cli", level, WEFT_LOG_AUTO);
}

static int
s_run(int argc, char **argv)
{
    if (argc < 2) {
        s_usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        return s_help(argc > 2 ? argv[2] : NULL);
    }
    if (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0) {
        (void) printf("weft %s\n", weft_version());
        return EXIT_FINE;
    }
    const cli_command_t *command = s_find(argv[1]);
    if (!command) {
        cli_complain("unknown command '%.60s'; weft help lists them", argv[1]);
        return EXIT_USAGE;
    }
    cli_options_t options;
    char why[200];
    if (!options_read(argc, argv, 2, command->name, &options, why, sizeof why)) {
        cli_complain("%s", why);
        return EXIT_USAGE;
    }
    if (options.help) {
        return s_help(command->name);
    }
    if (options.version) {
        (void) printf("weft %s\n", weft_version());
        return EXIT_FINE;
    }
    if (options.argument_count < command->arguments_min || options.argument_count > command->arguments_max) {
        cli_complain("usage: weft %s %s", command->name, command->arguments);
        return EXIT_USAGE;
    }
    return command->run(&options);
}

int
main(int argc, char **argv)
{
    s_setup_log();
    int status = s_run(argc, argv);
    if (fflush(stdout) != 0 && status == EXIT_FINE) {
        cli_complain("could not write to standard output");
        status = EXIT_BROKEN;
    }
    return status;
}
