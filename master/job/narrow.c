/* SPDX-License-Identifier: Apache-2.0 */
/* Smaller splits: see narrow.h. All else of the job is written as it was read. */
#include "master/job/narrow.h"

#include <string.h>

#include "master/job/tree.h"

/* The mapping under `split`, 0 = there is none. */
static int find_split(struct tree *tree)
{
    const yaml_node_t *root = tree_root(tree);
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         pair < root->data.mapping.pairs.top;
         pair++)
        if (strcmp(tree_text(tree_node(tree, pair->key)), "split") == 0 &&
            tree_node(tree, pair->value)->type == YAML_MAPPING_NODE)
            return pair->value;
    return 0;
}

static int
narrow(struct tree *tree, int split, const struct narrowing *narrowing, struct mf_error *error)
{
    static const char *const kinds[] = {"files", "lines", "records", "range", "list"};
    for (size_t i = 0; narrowing->kind != NULL && i < sizeof kinds / sizeof *kinds; i++)
        tree_drop(tree, split, kinds[i]);
    if (narrowing->kind != NULL &&
        tree_put_list(
            tree, split, narrowing->kind, narrowing->items, narrowing->item_count, true, error) < 0)
        return -1;
    tree_drop(tree, split, "only");
    if (narrowing->only_count == 0)
        return 0;
    return tree_put_list(tree, split, "only", narrowing->only, narrowing->only_count, false, error);
}

static int write_tree(const struct job *job,
                      struct tree *tree,
                      const struct narrowing *narrowing,
                      struct mf_buffer *out,
                      struct mf_error *error)
{
    size_t before = out->length;
    int split = find_split(tree);
    if (split == 0)
        return mf_raise(error, MF_EINPUT, "%s: split is not a mapping", job->path);
    if (narrow(tree, split, narrowing, error) < 0)
        return -1;
    tree_drop(tree, 1, "folder");
    if (tree_add(tree, "folder", job->folder, error) < 0 || tree_write(tree, out, error) < 0)
        return -1;
    if (out->length - before > TREE_BYTES_MAX)
        return mf_raise(error,
                        MF_EUSAGE,
                        "these are too many for a job file, which may have 1 MiB: name fewer "
                        "subtasks, or use mayfly retry");
    return 0;
}

int job_narrow(const struct job *job,
               const struct narrowing *narrowing,
               struct mf_buffer *out,
               struct mf_error *error)
{
    struct tree tree = {0};
    static const char *const nothing[] = {"split={}"};
    int rc = tree_load(
        &tree, job->path, mf_bytes_of((const unsigned char *)job->text, job->text_length), error);
    if (rc == 0 && job->split.kind == SPLIT_QUEUE) /* a bare word, or options of its own */
        rc = tree_set(&tree, nothing, 1, error);
    if (rc == 0)
        rc = write_tree(job, &tree, narrowing, out, error);
    tree_fini(&tree);
    return rc;
}
