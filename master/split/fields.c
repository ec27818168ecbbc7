/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of JSON objects: see fields.h. */
#include "master/split/fields.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire.h"

#define FIELDS_MAX 65535u /* as many as placeholders are looked up in */

static int raise_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory: the fields of a message");
}

static int pack_text(struct mf_wire_packer *packer, const char *text, size_t length)
{
    return msgpack_pack_str(&packer->library, length) != 0 ||
                   msgpack_pack_str_body(&packer->library, text, length) != 0
               ? -1
               : 0;
}

static int pack_value(struct mf_wire_packer *packer, const json_t *value)
{
    if (json_is_string(value))
        return pack_text(packer, json_string_value(value), json_string_length(value));
    if (json_is_null(value))
        return pack_text(packer, "", 0);
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_PRESERVE_ORDER);
    int rc = text == NULL ? -1 : pack_text(packer, text, strlen(text));
    free(text);
    return rc;
}

static int pack_object(json_t *object, struct mf_buffer *out)
{
    struct mf_wire_packer packer;
    size_t left = json_object_size(object) < FIELDS_MAX ? json_object_size(object) : FIELDS_MAX;
    mf_wire_packer_init(&packer, out);
    int rc = msgpack_pack_map(&packer.library, left);
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        if (rc != 0 || left-- == 0)
            break;
        rc = pack_text(&packer, name, strlen(name)) < 0 || pack_value(&packer, value) < 0;
    }
    return rc == 0 ? 0 : -1;
}

static bool is_blank(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int fields_of_json(struct mf_bytes body, struct mf_buffer *out, struct mf_error *error)
{
    size_t before = out->length;
    size_t at = 0;
    while (at < body.length && is_blank(body.data[at]))
        at++;
    if (at == body.length || body.data[at] != '{') /* most bodies are none */
        return 0;
    json_t *object = json_loadb((const char *)body.data, body.length, JSON_ALLOW_NUL, NULL);
    int rc = json_is_object(object) && json_object_size(object) > 0 ? pack_object(object, out) : 0;
    json_decref(object);
    if (rc < 0) {
        out->length = before;
        return raise_memory(error);
    }
    return 0;
}
