/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The YAML tree: see tree.h.
 *
 * Anchors and aliases work (a node is then read at each place); merge keys, tags of one's own,
 * several documents and duplicate keys are refused. Every walk counts its steps, since aliases can
 * make a small file a huge tree or a loop.
 */
#include "master/job/tree.h"

#include <string.h>

#include "common/alloc.h"

#define DEPTH_MAX 16
#define VISITS_MAX 2000000
#define KEYS_MAX 2000
#define SHOWN_MAX 60

yaml_node_t *tree_root(struct tree *tree)
{
    return yaml_document_get_root_node(&tree->document);
}

yaml_node_t *tree_node(struct tree *tree, int id)
{
    return yaml_document_get_node(&tree->document, id);
}

const char *tree_text(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

bool tree_is_nothing(const yaml_node_t *node)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(tree_text(node), words[i]) == 0)
            return true;
    }
    return false;
}

void tree_show(const char *text, char *out, size_t size)
{
    size_t used = 0, i = 0;
    for (; i < SHOWN_MAX && text[i] != '\0' && used + 8 < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f)
            used += (size_t)snprintf(out + used, size - used, "\\x%02x", c);
        else
            out[used++] = (char)c;
    }
    snprintf(out + used, size - used, "%s", text[i] == '\0' ? "" : "...");
}

const char *tree_place(const struct tree *tree, int id, char out[TREE_PLACE_MAX])
{
    for (size_t i = tree->set_count; i > 0 && id > 0; i--) {
        if (id >= tree->set_first_node[i - 1]) {
            snprintf(out, TREE_PLACE_MAX, "--set ");
            tree_show(tree->sets[i - 1], out + 6, TREE_PLACE_MAX - 6);
            return out;
        }
    }
    const yaml_document_t *document = &tree->document;
    if (id > 0 && document->nodes.start + id <= document->nodes.top)
        snprintf(out,
                 TREE_PLACE_MAX,
                 "%s:%zu",
                 tree->path,
                 document->nodes.start[id - 1].start_mark.line + 1);
    else
        snprintf(out, TREE_PLACE_MAX, "%s", tree->path);
    return out;
}

const char *tree_describe(const yaml_node_t *node, char out[TREE_PLACE_MAX])
{
    if (node->type == YAML_SCALAR_NODE && !tree_is_nothing(node)) {
        char shown[TREE_PLACE_MAX - 2];
        tree_show(tree_text(node), shown, sizeof shown);
        snprintf(out, TREE_PLACE_MAX, "'%s'", shown);
        return out;
    }
    const char *kind = node->type == YAML_SEQUENCE_NODE  ? "a list"
                       : node->type == YAML_MAPPING_NODE ? "a mapping"
                                                         : "nothing";
    snprintf(out, TREE_PLACE_MAX, "%s", kind);
    return out;
}

static int refuse(struct tree *tree, int id, struct mf_error *error, const char *what)
{
    char place[TREE_PLACE_MAX];
    return mf_raise(error, MF_EUSAGE, "%s: %s", tree_place(tree, id, place), what);
}

static int check_key(struct tree *tree, int id, struct mf_error *error)
{
    const yaml_node_t *key = tree_node(tree, id);
    if (key->type != YAML_SCALAR_NODE)
        return refuse(tree, id, error, "a key must be a word, not a list or mapping");
    if (strcmp(tree_text(key), "<<") == 0 && key->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        return refuse(tree, id, error, "merge keys (<<) are not supported; write the keys out");
    return 0;
}

static int check_duplicates(struct tree *tree, const yaml_node_t *mapping, struct mf_error *error)
{
    const yaml_node_pair_t *start = mapping->data.mapping.pairs.start,
                           *end = mapping->data.mapping.pairs.top;
    if (end - start > KEYS_MAX)
        return refuse(tree, start[KEYS_MAX].key, error, "a mapping has more than 2000 keys");
    for (const yaml_node_pair_t *pair = start; pair < end; pair++) {
        if (check_key(tree, pair->key, error) < 0)
            return -1;
        const char *text = tree_text(tree_node(tree, pair->key));
        for (const yaml_node_pair_t *other = start; other < pair; other++) {
            const yaml_node_t *first = tree_node(tree, other->key);
            if (strcmp(text, tree_text(first)) == 0) {
                char place[TREE_PLACE_MAX], shown[TREE_PLACE_MAX];
                return mf_raise(error,
                                MF_EUSAGE,
                                "%s: duplicate key %s, first given in line %zu",
                                tree_place(tree, pair->key, place),
                                tree_describe(tree_node(tree, pair->key), shown),
                                first->start_mark.line + 1);
            }
        }
    }
    return 0;
}

static int check_tag(struct tree *tree, int id, const yaml_node_t *node, struct mf_error *error)
{
    static const char *const known[] = {YAML_STR_TAG,
                                        YAML_INT_TAG,
                                        YAML_FLOAT_TAG,
                                        YAML_BOOL_TAG,
                                        YAML_SEQ_TAG,
                                        YAML_NULL_TAG,
                                        YAML_MAP_TAG};
    for (size_t i = 0; node->tag != NULL && i < sizeof known / sizeof *known; i++) {
        if (strcmp((const char *)node->tag, known[i]) == 0)
            return 0;
    }
    return refuse(tree, id, error, "YAML tags (!) are not supported; write the value without one");
}

/* What holds for every node, whatever its key. */
static int check_node(struct tree *tree, int id, int depth, long *visits, struct mf_error *error)
{
    const yaml_node_t *node = tree_node(tree, id);
    if (depth > DEPTH_MAX || ++*visits > VISITS_MAX)
        return refuse(
            tree, id, error, "nested too deeply, or aliases (*) that make the file too large");
    if (check_tag(tree, id, node, error) < 0)
        return -1;
    if (node->type == YAML_SCALAR_NODE && strlen(tree_text(node)) != node->data.scalar.length)
        return refuse(tree, id, error, "a text holds a NUL character");
    if (node->type == YAML_SEQUENCE_NODE) {
        for (yaml_node_item_t *item = node->data.sequence.items.start;
             item < node->data.sequence.items.top;
             item++) {
            if (check_node(tree, *item, depth + 1, visits, error) < 0)
                return -1;
        }
    } else if (node->type == YAML_MAPPING_NODE) {
        if (check_duplicates(tree, node, error) < 0)
            return -1;
        for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
             pair < node->data.mapping.pairs.top;
             pair++) {
            if (check_node(tree, pair->key, depth + 1, visits, error) < 0 ||
                check_node(tree, pair->value, depth + 1, visits, error) < 0)
                return -1;
        }
    }
    return 0;
}

static int raise_parser(const yaml_parser_t *parser, const char *place, struct mf_error *error)
{
    if (parser->error == YAML_MEMORY_ERROR)
        return mf_raise(error, MF_ENOMEM, "%s: out of memory while reading YAML", place);
    if (parser->error == YAML_READER_ERROR)
        return mf_raise(error,
                        MF_EUSAGE,
                        "%s: not a YAML text: %s at byte %zu",
                        place,
                        parser->problem,
                        parser->problem_offset);
    const char *hint = "",
               *problem = parser->problem == NULL ? "an unknown problem" : parser->problem;
    if (strstr(problem, "tab character") != NULL ||
        strstr(problem, "cannot start any token") != NULL)
        hint =
            "; indent with spaces, not tabs, and quote texts that start with a sign such as % or @";
    else if (strstr(problem, "',' or") != NULL)
        hint = "; within [ ] and { }, quote texts that hold a bracket, brace, comma or colon";
    return mf_raise(error,
                    MF_EUSAGE,
                    "%s:%zu: not valid YAML: %s%s%s (column %zu)%s",
                    place,
                    parser->problem_mark.line + 1,
                    parser->context == NULL ? "" : parser->context,
                    parser->context == NULL ? "" : ", ",
                    problem,
                    parser->problem_mark.column + 1,
                    hint);
}

/* The first document of `text`, which must be the only one. The parser is the caller's, to end. */
static int parse_single(yaml_parser_t *parser,
                        yaml_document_t *document,
                        const char *place,
                        struct mf_error *error)
{
    yaml_document_t second;
    if (!yaml_parser_load(parser, document))
        return raise_parser(parser, place, error);
    if (!yaml_parser_load(parser, &second)) {
        raise_parser(parser, place, error);
        yaml_document_delete(document);
        return -1;
    }
    const yaml_node_t *root = yaml_document_get_root_node(&second);
    size_t line = root == NULL ? 0 : root->start_mark.line + 1;
    yaml_document_delete(&second);
    if (root != NULL) {
        yaml_document_delete(document);
        return mf_raise(error,
                        MF_EUSAGE,
                        "%s:%zu: a second YAML document starts here; one is expected",
                        place,
                        line);
    }
    return 0;
}

static int parse_text(yaml_document_t *document,
                      struct mf_bytes text,
                      const char *place,
                      struct mf_error *error)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return mf_raise(error, MF_ENOMEM, "%s: out of memory while reading YAML", place);
    yaml_parser_set_input_string(
        &parser, text.data == NULL ? (const unsigned char *)"" : text.data, text.length);
    int rc = parse_single(&parser, document, place, error);
    yaml_parser_delete(&parser);
    return rc;
}

int tree_load(struct tree *tree, const char *path, struct mf_bytes text, struct mf_error *error)
{
    long visits = 0;
    *tree = (struct tree){.path = path};
    if (text.length > TREE_BYTES_MAX)
        return mf_raise(
            error, MF_EUSAGE, "%s: a job file of more than 1 MiB; is this the right file?", path);
    const unsigned char *nul = text.length == 0 ? NULL : memchr(text.data, '\0', text.length);
    if (nul != NULL)
        return mf_raise(error,
                        MF_EUSAGE,
                        "%s: not a YAML text: it holds a NUL byte at offset %zu",
                        path,
                        (size_t)(nul - text.data));
    if (parse_text(&tree->document, text, path, error) < 0)
        return -1;
    tree->is_loaded = true;
    const yaml_node_t *root = tree_root(tree);
    if (root == NULL)
        return mf_raise(
            error, MF_EUSAGE, "%s: the job file is empty; it starts with 'mayfly: 1'", path);
    if (root->type != YAML_MAPPING_NODE)
        return refuse(tree,
                      1,
                      error,
                      "a job file is a mapping of keys to values that starts with 'mayfly: 1'");
    return check_node(tree, 1, 0, &visits, error);
}

void tree_fini(struct tree *tree)
{
    if (tree->is_loaded)
        yaml_document_delete(&tree->document);
    mf_free(tree->set_first_node);
    *tree = (struct tree){0};
}

static int raise_memory(struct mf_error *error)
{
    return mf_raise(error, MF_ENOMEM, "out of memory while reading the job file");
}

/* Copies a node of another document and what is below it; the new node's number, or -1. */
static int copy_node(struct tree *tree,
                     yaml_document_t *from,
                     int id,
                     int depth,
                     long *visits,
                     struct mf_error *error)
{
    const yaml_node_t *node = yaml_document_get_node(from, id);
    yaml_document_t *to = &tree->document;
    int copy = 0;
    if (depth > DEPTH_MAX || ++*visits > VISITS_MAX / 100)
        return mf_raise(error, MF_EUSAGE, "the value is nested too deeply or too large");
    if (node->type == YAML_SCALAR_NODE) {
        copy = yaml_document_add_scalar(to,
                                        node->tag,
                                        node->data.scalar.value,
                                        (int)node->data.scalar.length,
                                        node->data.scalar.style);
    } else if (node->type == YAML_SEQUENCE_NODE) {
        copy = yaml_document_add_sequence(to, node->tag, YAML_FLOW_SEQUENCE_STYLE);
        for (int *item = node->data.sequence.items.start;
             copy > 0 && item < node->data.sequence.items.top;
             item++) {
            int child = copy_node(tree, from, *item, depth + 1, visits, error);
            if (child < 0)
                return -1;
            if (!yaml_document_append_sequence_item(to, copy, child))
                return raise_memory(error);
        }
    } else {
        copy = yaml_document_add_mapping(to, node->tag, YAML_FLOW_MAPPING_STYLE);
        for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
             copy > 0 && pair < node->data.mapping.pairs.top;
             pair++) {
            int key = copy_node(tree, from, pair->key, depth + 1, visits, error);
            int value = key < 0 ? -1 : copy_node(tree, from, pair->value, depth + 1, visits, error);
            if (value < 0)
                return -1;
            if (!yaml_document_append_mapping_pair(to, copy, key, value))
                return raise_memory(error);
        }
    }
    return copy == 0 ? raise_memory(error) : copy;
}

static int parse_value(struct tree *tree, const char *value, struct mf_error *error)
{
    yaml_document_t document;
    long visits = 0;
    if (parse_text(&document, mf_bytes_text(value), "its value", error) < 0)
        return -1;
    int id = 0;
    if (yaml_document_get_root_node(&document) != NULL)
        id = copy_node(tree, &document, 1, 0, &visits, error);
    else
        id = yaml_document_add_scalar(
            &tree->document, NULL, (const yaml_char_t *)"", 0, YAML_PLAIN_SCALAR_STYLE);
    yaml_document_delete(&document);
    return id == 0 ? raise_memory(error) : id;
}

static yaml_node_pair_t *find_pair(struct tree *tree, int mapping, const char *key, size_t length)
{
    const yaml_node_t *node = tree_node(tree, mapping);
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top;
         pair++) {
        const yaml_node_t *name = tree_node(tree, pair->key);
        if (name->data.scalar.length == length && memcmp(name->data.scalar.value, key, length) == 0)
            return pair;
    }
    return NULL;
}

static int append_pair(struct tree *tree,
                       int mapping,
                       const char *key,
                       size_t length,
                       int value,
                       struct mf_error *error)
{
    int name = yaml_document_add_scalar(
        &tree->document, NULL, (const yaml_char_t *)key, (int)length, YAML_ANY_SCALAR_STYLE);
    if (name == 0 || !yaml_document_append_mapping_pair(&tree->document, mapping, name, value))
        return raise_memory(error);
    return 0;
}

/* The mapping under `key`, made if it is not there. Its number, or -1. */
static int
descend(struct tree *tree, int mapping, const char *key, size_t length, struct mf_error *error)
{
    const yaml_node_pair_t *pair = find_pair(tree, mapping, key, length);
    if (pair != NULL && !tree_is_nothing(tree_node(tree, pair->value))) {
        if (tree_node(tree, pair->value)->type == YAML_MAPPING_NODE)
            return pair->value;
        char shown[TREE_PLACE_MAX];
        return mf_raise(error,
                        MF_EUSAGE,
                        "%.*s is %s in the job file, not a mapping",
                        (int)length,
                        key,
                        tree_describe(tree_node(tree, pair->value), shown));
    }
    int made = yaml_document_add_mapping(&tree->document, NULL, YAML_ANY_MAPPING_STYLE);
    if (made == 0)
        return raise_memory(error);
    yaml_node_pair_t *again = find_pair(tree, mapping, key, length);
    if (again != NULL)
        again->value = made;
    else if (append_pair(tree, mapping, key, length, made, error) < 0)
        return -1;
    return made;
}

static int apply_set(struct tree *tree, const char *set, struct mf_error *error)
{
    const char *equals = strchr(set, '=');
    if (equals == NULL || equals == set)
        return mf_raise(error, MF_EUSAGE, "expected key=value, for example task.timeout=15m");
    for (const char *p = set; p < equals; p++) {
        if (*p <= ' ' || *p > '~') /* libyaml takes no key that is not UTF-8 */
            return mf_raise(error,
                            MF_EUSAGE,
                            "a key of --set is written in printable ASCII; give others as a "
                            "mapping {KEY: VALUE}");
    }
    int value = parse_value(tree, equals + 1, error), mapping = 1;
    const char *key = set;
    for (size_t length; value > 0 && mapping > 0; key += length + 1) {
        length = strcspn(key, ".=");
        if (length == 0)
            return mf_raise(error, MF_EUSAGE, "a part of the key is empty");
        if (key[length] == '.') {
            mapping = descend(tree, mapping, key, length, error);
            continue;
        }
        yaml_node_pair_t *pair = find_pair(tree, mapping, key, length);
        if (pair == NULL)
            return append_pair(tree, mapping, key, length, value, error);
        pair->value = value;
        return 0;
    }
    return -1;
}

int tree_set(struct tree *tree, const char *const *sets, size_t count, struct mf_error *error)
{
    long visits = 0;
    tree->sets = sets;
    tree->set_first_node = mf_calloc(count, sizeof *tree->set_first_node);
    if (tree->set_first_node == NULL)
        return raise_memory(error);
    for (size_t i = 0; i < count; i++) {
        char shown[TREE_PLACE_MAX];
        tree->set_first_node[i] = (int)(tree->document.nodes.top - tree->document.nodes.start) + 1;
        if (apply_set(tree, sets[i], error) < 0) {
            tree_show(sets[i], shown, sizeof shown);
            return mf_error_prefix(error, "--set %s", shown);
        }
        tree->set_count = i + 1;
    }
    return check_node(tree, 1, 0, &visits, error);
}

int tree_add(struct tree *tree, const char *key, const char *value, struct mf_error *error)
{
    int id = yaml_document_add_scalar(&tree->document,
                                      NULL,
                                      (const yaml_char_t *)value,
                                      (int)strlen(value),
                                      YAML_ANY_SCALAR_STYLE);
    if (id == 0)
        return raise_memory(error);
    return append_pair(tree, 1, key, strlen(key), id, error);
}

size_t tree_rank(const struct tree *tree, int id)
{
    for (size_t i = tree->set_count; i > 0; i--) {
        if (id >= tree->set_first_node[i - 1])
            return i;
    }
    return 0;
}

void tree_drop(struct tree *tree, int mapping, const char *key)
{
    yaml_node_pair_t *pair = find_pair(tree, mapping, key, strlen(key));
    if (pair == NULL)
        return;
    yaml_node_t *node = tree_node(tree, mapping);
    size_t behind = (size_t)(node->data.mapping.pairs.top - pair - 1);
    memmove(pair, pair + 1, behind * sizeof *pair);
    node->data.mapping.pairs.top--;
}

int tree_put_list(struct tree *tree,
                  int mapping,
                  const char *key,
                  const struct mf_bytes *items,
                  size_t count,
                  bool quoted,
                  struct mf_error *error)
{
    yaml_document_t *document = &tree->document;
    yaml_scalar_style_t style = quoted ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_ANY_SCALAR_STYLE;
    int list = yaml_document_add_sequence(document, NULL, YAML_BLOCK_SEQUENCE_STYLE);
    if (list == 0)
        return raise_memory(error);
    for (size_t i = 0; i < count; i++) {
        int item = yaml_document_add_scalar(
            document, NULL, (const yaml_char_t *)items[i].data, (int)items[i].length, style);
        if (item == 0 || !yaml_document_append_sequence_item(document, list, item))
            return raise_memory(error);
    }
    tree_drop(tree, mapping, key);
    return append_pair(tree, mapping, key, strlen(key), list, error);
}

static int append_output(void *out, unsigned char *data, size_t size)
{
    return mf_buffer_append(out, data, size, NULL) == 0;
}

int tree_write(struct tree *tree, struct mf_buffer *out, struct mf_error *error)
{
    yaml_emitter_t emitter;
    if (!yaml_emitter_initialize(&emitter))
        return raise_memory(error);
    yaml_emitter_set_output(&emitter, append_output, out);
    yaml_emitter_set_unicode(&emitter, 1);
    yaml_emitter_set_width(&emitter, -1);
    int ok = yaml_emitter_open(&emitter);
    if (ok) {
        tree->is_loaded = false; /* dumping ends the document in any case */
        ok = yaml_emitter_dump(&emitter, &tree->document) && yaml_emitter_close(&emitter);
    }
    yaml_emitter_delete(&emitter);
    return ok ? 0 : raise_memory(error);
}
