/* SPDX-License-Identifier: Apache-2.0 */
/* Commands under one name: finds the one that is meant. */
#include <stdio.h>
#include <string.h>

#include "master/command.h"

static void print_help(const struct command_list *list, FILE *out)
{
    fprintf(out,
            "%s\n\n"
            "Usage: %s COMMAND [OPTION...] (%s COMMAND --help explains each)\n\n",
            list->about,
            list->name,
            list->name);
    for (size_t i = 0; i < list->count; i++) {
        char line[64];
        snprintf(line, sizeof line, "%s %s", list->commands[i]->name, list->commands[i]->arguments);
        fprintf(out, "  %-27s %s\n", line, list->commands[i]->summary);
    }
    fprintf(out, "\n%s", list->notes);
}

static int distance(const char *a, const char *b)
{
    size_t columns = strlen(b);
    int row[64];
    if (columns >= 64 || strlen(a) >= 64)
        return 64;
    for (size_t j = 0; j <= columns; j++)
        row[j] = (int)j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        int diagonal = row[0];
        row[0] = (int)i + 1;
        for (size_t j = 0; j < columns; j++) {
            int best = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j + 1] + 1 < best)
                best = row[j + 1] + 1;
            row[j + 1] = best;
        }
    }
    return row[columns];
}

static int unknown(const struct command_list *list, const char *name)
{
    const char *nearest = NULL;
    int best = 3;
    for (size_t i = 0; i < list->count; i++)
        if (distance(name, list->commands[i]->name) < best) {
            best = distance(name, list->commands[i]->name);
            nearest = list->commands[i]->name;
        }
    fprintf(stderr,
            "mayfly: there is no command \"%s%s%s\"%s%s%s; %s --help lists all\n",
            strcmp(list->name, "mayfly") == 0 ? "" : list->name + strlen("mayfly "),
            strcmp(list->name, "mayfly") == 0 ? "" : " ",
            name,
            nearest == NULL ? "" : ", did you mean \"",
            nearest == NULL ? "" : nearest,
            nearest == NULL ? "" : "\"?",
            list->name);
    return 2;
}

int command_list_main(const struct command_list *list, int argc, char **argv)
{
    if (argc < 2) {
        print_help(list, stderr);
        return 2;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "help") == 0 || strcmp(name, "-h") == 0 ||
        strcmp(name, "-?") == 0) {
        print_help(list, stdout);
        return 0;
    }
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->commands[i]->name, name) != 0)
            continue;
        char title[96];
        snprintf(title, sizeof title, "%s %s", list->name, name);
        argv[1] = title;
        return list->commands[i]->main(argc - 1, argv + 1);
    }
    return unknown(list, name);
}
