/* SPDX-License-Identifier: Apache-2.0 */
/* firing.json: see firing_note.h. */
#include "master/firing_note.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/run_folder.h"

#define FILE_NAME "firing.json"

static int set_text(json_t *object, const char *key, const char *text)
{
    return json_object_set_new(object, key, text == NULL ? json_null() : json_string(text));
}

json_t *firing_note_json(const struct firing_note *note)
{
    json_t *object = json_object();
    if (object == NULL)
        return NULL;
    int rc = set_text(object, "trigger", note->trigger);
    rc |= set_text(object, "cause", note->cause);
    rc |= set_text(object, "queue", note->queue);
    rc |= json_object_set_new(object, "messages", json_integer((json_int_t)note->messages));
    if (note->due_us != 0)
        rc |= json_object_set_new(object, "due_us", json_integer(note->due_us));
    if (rc == 0)
        return object;
    json_decref(object);
    return NULL;
}

int firing_note_write(const char *folder, const struct firing_note *note, struct mf_error *error)
{
    char *path = run_path(folder, FILE_NAME);
    json_t *object = firing_note_json(note);
    char *text = NULL;
    if (object != NULL && set_text(object, "event", note->event) == 0)
        text = json_dumps(object, JSON_INDENT(2));
    int rc = path == NULL || text == NULL ? mf_raise(error, MF_ENOMEM, "out of memory: a firing")
                                          : write_file(path, text, strlen(text), true, error);
    free(text);
    json_decref(object);
    mf_free(path);
    return rc;
}

static int get_text(const json_t *object, const char *key, char **text)
{
    const char *value = json_string_value(json_object_get(object, key));
    *text = value == NULL ? NULL : mf_strdup(value);
    return value != NULL && *text == NULL ? -1 : 0;
}

static int take(const json_t *object, struct firing_note *note, struct mf_error *error)
{
    int rc = get_text(object, "trigger", &note->trigger);
    rc |= get_text(object, "cause", &note->cause);
    rc |= get_text(object, "queue", &note->queue);
    rc |= get_text(object, "event", &note->event);
    note->due_us = json_integer_value(json_object_get(object, "due_us"));
    note->messages = (uint64_t)json_integer_value(json_object_get(object, "messages"));
    if (rc == 0)
        return 1;
    firing_note_fini(note);
    return mf_raise(error, MF_ENOMEM, "out of memory: a firing");
}

int firing_note_read(const char *folder, struct firing_note *note, struct mf_error *error)
{
    *note = (struct firing_note){0};
    char *path = run_path(folder, FILE_NAME);
    if (path == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a path");
    json_error_t why;
    json_t *object = NULL;
    int rc = 0;
    if (access(path, F_OK) == 0) {
        object = json_load_file(path, 0, &why);
        rc = json_is_object(object)
                 ? take(object, note, error)
                 : mf_raise(error, MF_EINPUT, "%s cannot be read: %.200s", path, why.text);
    }
    json_decref(object);
    mf_free(path);
    return rc;
}

void firing_note_fini(struct firing_note *note)
{
    mf_free(note->trigger);
    mf_free(note->cause);
    mf_free(note->queue);
    mf_free(note->event);
    *note = (struct firing_note){0};
}

json_t *firing_note_json_of(const char *folder)
{
    struct firing_note note;
    json_t *object = firing_note_read(folder, &note, NULL) > 0 ? firing_note_json(&note) : NULL;
    firing_note_fini(&note);
    return object == NULL ? json_null() : object;
}

const char *firing_note_text(const json_t *note, char *out, size_t size)
{
    const char *trigger = json_string_value(json_object_get(note, "trigger"));
    const char *cause = json_string_value(json_object_get(note, "cause"));
    const char *queue = json_string_value(json_object_get(note, "queue"));
    json_int_t messages = json_integer_value(json_object_get(note, "messages"));
    char of_queue[160] = "";
    if (queue != NULL)
        snprintf(of_queue,
                 sizeof of_queue,
                 ", queue %.80s, %" JSON_INTEGER_FORMAT " message%s",
                 queue,
                 messages,
                 messages == 1 ? "" : "s");
    snprintf(out,
             size,
             "%s%.80s%s%s%s%s",
             trigger == NULL ? "by hand" : "trigger ",
             trigger == NULL ? "" : trigger,
             trigger == NULL || cause == NULL ? "" : " (",
             trigger == NULL || cause == NULL ? "" : cause,
             trigger == NULL || cause == NULL ? "" : ")",
             of_queue);
    return out;
}
