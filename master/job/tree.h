/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The YAML tree of a job file: libyaml's document with the limits and refusals that apply to every
 * part of it, --set applied, and the place of each node for errors. Not thread-safe.
 */
#ifndef MAYFLY_MASTER_JOB_TREE_H
#define MAYFLY_MASTER_JOB_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

#include "common/buffer.h"
#include "common/error.h"

#define TREE_BYTES_MAX (1u << 20)
#define TREE_PLACE_MAX 512

/* Zero-initialised is empty. Borrows path and sets. */
struct tree {
    yaml_document_t document;
    bool is_loaded;
    const char *path;
    const char *const *sets;
    size_t set_count;    /* applied so far */
    int *set_first_node; /* of each option: its nodes are numbered from here */
};

/* Reads the text and checks it. MF_EUSAGE with a place. */
int tree_load(struct tree *tree, const char *path, struct mf_bytes text, struct mf_error *error);
void tree_fini(struct tree *tree);

/* Applies "a.b=value" options; all of them, then the tree is checked again. */
int tree_set(struct tree *tree, const char *const *sets, size_t count, struct mf_error *error);
/* Adds a text to the top mapping. */
int tree_add(struct tree *tree, const char *key, const char *value, struct mf_error *error);

yaml_node_t *tree_root(struct tree *tree);
yaml_node_t *tree_node(struct tree *tree, int id);
/* The text of a scalar. */
const char *tree_text(const yaml_node_t *node);
/* A plain scalar that stands for nothing: empty, ~ or null. */
bool tree_is_nothing(const yaml_node_t *node);

/* "FILE:LINE", or "--set a.b=c"; node 0: the file alone. Returns out. */
const char *tree_place(const struct tree *tree, int id, char out[TREE_PLACE_MAX]);
/* "'text'", "a list", "a mapping" or "nothing", with what is unprintable escaped and what is long
 * cut. */
const char *tree_describe(const yaml_node_t *node, char out[TREE_PLACE_MAX]);

/* Who said it: 0 = the file, n = the n-th --set. */
size_t tree_rank(const struct tree *tree, int id);

/* Changes of a mapping, for the copy that is written. Nothing happens when the key is not there. */
void tree_drop(struct tree *tree, int mapping, const char *key);
/* A list of texts in UTF-8 under `key`, in place of what was there. Not quoted, a text such as null
 * or 1 is read as that. */
int tree_put_list(struct tree *tree,
                  int mapping,
                  const char *key,
                  const struct mf_bytes *items,
                  size_t count,
                  bool quoted,
                  struct mf_error *error);

/* Copies at most 60 bytes of text, with what is unprintable escaped, so that a hostile text can't
 * forge lines or flood the terminal. */
void tree_show(const char *text, char *out, size_t size);

/* Appends the whole as YAML. Ends the tree: only tree_fini may follow. */
int tree_write(struct tree *tree, struct mf_buffer *out, struct mf_error *error);

#endif
