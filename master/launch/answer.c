/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of the worker's program: see answer.h. All of it comes from another host: nothing is
 * taken for granted. What a login shell says comes first, and may be anything: the last line of a
 * kind counts. */
#include "master/launch/answer.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

/* Takes blanks and a number from *at. */
static bool take_number(const char **at, uint64_t most, uint64_t *number)
{
    const char *digits = *at + strspn(*at, " ");
    char *end;
    if (*digits < '0' || *digits > '9')
        return false;
    errno = 0;
    unsigned long long value = strtoull(digits, &end, 10);
    if (errno != 0 || value > most)
        return false;
    *number = value;
    *at = end;
    return true;
}

/* The next line that starts with "mayfly 1 <word> ", behind those words; NULL when there is none.
 */
static const char *find_line(const char *output, const char *word)
{
    char head[64];
    int length = snprintf(head, sizeof head, "mayfly 1 %s ", word);
    for (const char *line = output; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, head, (size_t)length) == 0)
            return line + length;
        if (*line == '\0')
            break;
    }
    return NULL;
}

bool answer_started(const char *output, uint32_t worker, struct launch_report *report)
{
    bool is_there = false;
    for (const char *at = output; (at = find_line(at, "started")) != NULL;) {
        uint64_t id, pid, port;
        if (take_number(&at, UINT32_MAX, &id) && take_number(&at, UINT32_MAX, &pid) &&
            take_number(&at, UINT16_MAX, &port) && id == worker) {
            report->pid = (uint32_t)pid;
            report->port = (uint16_t)port;
            is_there = true;
        }
    }
    return is_there;
}

bool answer_line(const char *output, const char *word, char *text, size_t size)
{
    const char *last = NULL;
    for (const char *at = output; (at = find_line(at, word)) != NULL;)
        last = at;
    if (last == NULL)
        return false;
    snprintf(text, size, "%.*s", (int)strcspn(last, "\n"), last);
    return true;
}

bool answer_from_job(
    const char *output, uint32_t worker, char *address, size_t size, struct launch_report *report)
{
    if (!answer_started(output, worker, report))
        return false;
    bool is_said = answer_line(output, "address", address, size);
    if (is_said)
        address[strcspn(address, " ")] = '\0';
    report->address = is_said && address[0] != '\0' ? address : NULL;
    return true;
}

/* It becomes a word of a shell line. */
static bool is_part_name(const char *name, size_t length, size_t size)
{
    return length < size && (strncmp(name, ".part-", 6) == 0 || strncmp(name, ".new-", 5) == 0) &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") >=
               length;
}

void answer_part(const char *output, size_t most, struct script_part *part)
{
    part->name[0] = '\0';
    part->kib = 0;
    for (const char *at = output; (at = find_line(at, "part")) != NULL;) {
        uint64_t kib;
        if (!take_number(&at, most, &kib) || kib <= part->kib || *at != ' ')
            continue;
        size_t length = strcspn(++at, "\n");
        if (!is_part_name(at, length, sizeof part->name))
            continue;
        snprintf(part->name, sizeof part->name, "%.*s", (int)length, at);
        part->kib = (unsigned)kib;
    }
}

static void describe_left(json_t *left, char *text, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(left) && n + 1 < size; i++) {
        const char *item = json_string_value(json_array_get(left, i));
        n += (size_t)snprintf(
            text + n, size - n, "%s%s", i == 0 ? "" : ", ", item == NULL ? "?" : item);
    }
}

/* The line that is a JSON object of a sweep. */
static json_t *find_object(const char *output)
{
    json_t *last = NULL;
    for (const char *line = output; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (*line == '\0')
            break;
        if (*line != '{')
            continue;
        json_t *root = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL);
        if (json_is_boolean(json_object_get(root, "verified"))) {
            json_decref(last);
            last = json_incref(root);
        }
        json_decref(root);
    }
    return last;
}

void answer_swept(const char *output,
                  const char *problem,
                  int code,
                  char *left,
                  size_t size,
                  struct sweep_report *report)
{
    json_t *root = find_object(output);
    left[0] = '\0';
    report->verified = json_is_true(json_object_get(root, "verified"));
    report->verified_by = root == NULL ? "none" : "sweep";
    report->processes_ended =
        (uint32_t)json_integer_value(json_object_get(root, "processes_ended"));
    report->files_removed = (uint32_t)json_integer_value(json_object_get(root, "files_removed"));
    report->left = report->verified ? NULL : left;
    if (root == NULL) {
        char text[256];
        answer_problem(problem, text, sizeof text);
        snprintf(left, size, "the sweep failed (exit code %d): %s", code, text);
    } else if (!report->verified) {
        describe_left(json_object_get(root, "left"), left, size);
    }
    json_decref(root);
}

void answer_checked(const char *output, struct check_report *report)
{
    char text[512];
    const char *at = text;
    uint64_t cores, memory_kib, seconds, free_kib;
    answer_line(output, "system", report->system, sizeof report->system);
    answer_line(output, "user", report->user, sizeof report->user);
    answer_line(output, "passed", report->passed, sizeof report->passed);
    report->has_program = answer_line(output, "program", text, sizeof text) && text[0] == 'y';
    if (answer_line(output, "facts", text, sizeof text) && take_number(&at, UINT32_MAX, &cores) &&
        take_number(&at, UINT64_MAX / 1024, &memory_kib) && take_number(&at, INT64_MAX, &seconds)) {
        report->cores = cores;
        report->memory_kib = memory_kib;
        report->clock_offset_s = (int64_t)seconds - mf_wall_us() / 1000000;
    }
    at = text;
    if (answer_line(output, "place", text, sizeof text) &&
        take_number(&at, UINT64_MAX / 1024, &free_kib) && *at == ' ') {
        report->free_kib = free_kib;
        snprintf(report->folder, sizeof report->folder, "%s", at + 1);
    }
}

void answer_problem(const char *problem, char *text, size_t size)
{
    const char *last = NULL;
    size_t last_length = 0;
    for (const char *line = problem; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        if (length > 0 && strspn(line, " \t\r") < length) {
            last = line;
            last_length = length;
        }
        line += length + (line[length] == '\n');
    }
    if (last == NULL)
        snprintf(text, size, "it said nothing");
    else
        snprintf(text, size, "%.*s", (int)(last_length < size ? last_length : size), last);
}
