/* weft - the command-line program: calls services and shows what the brokers know */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/config.h>
#include <weft/log.h>

#include "cli/options.h"

/* True when a command's name is `group` and another word. */
static bool
s_is_of(const cli_command_t *command, const char *group)
{
    size_t size = strlen(group);
    return size > 0 && strncmp(command->name, group, size) == 0 && command->name[size] == ' ';
}

static bool
s_is_group(const char *name)
{
    for (const cli_command_t *command = CLI_COMMANDS; command->name; command++) {
        if (s_is_of(command, name)) {
            return true;
        }
    }
    return false;
}

/* All commands, or those of a group. */
static void
s_usage(FILE *to, const char *group)
{
    (void) fprintf(to, "usage: weft %s%sCOMMAND [ARGUMENTS] [OPTIONS]\n\ncommands:\n", group ? group : "",
                   group ? " " : "");
    for (const cli_command_t *command = CLI_COMMANDS; command->name; command++) {
        if (group && !s_is_of(command, group)) {
            continue;
        }
        char left[64];
        (void) snprintf(left, sizeof left, "%s %s", command->name, command->arguments);
        (void) fprintf(to, "  %-34s %s\n", left, command->summary);
    }
    (void) fprintf(to, "  %-34s %s\n", "help [COMMAND]", "shows this, or the options of a command");
}

static void
s_exit_codes(void)
{
    (void) printf(
        "\nexit status: 0 done, 1 trouble of its own, 2 wrong usage, 3 the call or the job failed,\n"
        "4 unavailable, too busy or not in time; a job that was waited for: 5 cancelled, 6 not done\n"
        "yet\n");
}

/* The command that `words` begin with; *used says how many words its name has. */
static const cli_command_t *
s_find(int count, char *const *words, int *used)
{
    for (const cli_command_t *command = CLI_COMMANDS; command->name; command++) {
        *used = strchr(command->name, ' ') ? 2 : 1;
        if (*used == 1 ? strcmp(command->name, words[0]) == 0
                       : count > 1 && s_is_of(command, words[0]) &&
                             strcmp(command->name + strlen(words[0]) + 1, words[1]) == 0) {
            return command;
        }
    }
    return NULL;
}

static int
s_unknown(int count, char *const *words)
{
    if (!s_is_group(words[0])) {
        cli_complain("unknown command '%.60s'; weft help lists them", words[0]);
    } else if (count < 2 || words[1][0] == '-') {
        s_usage(stderr, words[0]);
    } else {
        cli_complain("unknown command '%.60s %.60s'; weft help %.60s lists them", words[0], words[1],
                     words[0]);
    }
    return EXIT_USAGE;
}

static void
s_help_command(const cli_command_t *command)
{
    (void) printf("usage: weft %s %s%s[OPTIONS]\n\n%s\n\noptions:\n", command->name, command->arguments,
                  command->arguments[0] ? " " : "", command->summary);
    options_help(command->name);
    s_exit_codes();
}

static int
s_help(int count, char *const *words)
{
    int used;
    const cli_command_t *command = count > 0 ? s_find(count, words, &used) : NULL;
    if (command) {
        s_help_command(command);
    } else if (count == 0) {
        s_usage(stdout, NULL);
        (void) printf("\noptions:\n");
        options_help(NULL);
        s_exit_codes();
    } else if (count == 1 && s_is_group(words[0])) {
        s_usage(stdout, words[0]);
        s_exit_codes();
    } else {
        return s_unknown(count, words);
    }
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
        s_usage(stderr, NULL);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        return s_help(argc - 2, argv + 2);
    }
    if (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0) {
        (void) printf("weft %s\n", weft_version());
        return EXIT_FINE;
    }
    int used = 1;
    const cli_command_t *command = s_find(argc - 1, argv + 1, &used);
    if (!command && argc == 3 && strcmp(argv[2], "--help") == 0 && s_is_group(argv[1])) {
        return s_help(1, argv + 1);
    }
    if (!command) {
        return s_unknown(argc - 1, argv + 1);
    }
    cli_options_t options;
    char why[200];
    if (!options_read(argc, argv, 1 + used, command->name, &options, why, sizeof why)) {
        cli_complain("%s", why);
        return EXIT_USAGE;
    }
    if (options.help) {
        s_help_command(command);
        return EXIT_FINE;
    }
    if (options.version) {
        (void) printf("weft %s\n", weft_version());
        return EXIT_FINE;
    }
    if (options.argument_count < command->arguments_min || options.argument_count > command->arguments_max) {
        cli_complain("usage: weft %s%s%s", command->name, command->arguments[0] ? " " : "",
                     command->arguments);
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
