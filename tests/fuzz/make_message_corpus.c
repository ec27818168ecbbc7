/* SPDX-License-Identifier: Apache-2.0 */
/* make_message_corpus FOLDER: the golden frames, their bodies and a deflated frame as seeds for
 * fuzz_message. */
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/frame.h"
#include "message_samples.h"

static int write_seed(const char *folder, const char *name, struct mf_bytes seed)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        perror(path);
        return -1;
    }
    size_t written = fwrite(seed.data, 1, seed.length, file);
    if (fclose(file) != 0 || written != seed.length) {
        perror(path);
        return -1;
    }
    return 0;
}

/* The golden frame, and its type and body without the header: see fuzz_message.c. */
static int write_frame_and_body(const char *folder, const struct sample *sample)
{
    struct mf_buffer frame = {0};
    char name[64];
    int rc = sample_unhex(sample->golden, &frame, NULL);
    if (rc == 0)
        rc = write_seed(folder, sample->name, mf_buffer_view(&frame));
    if (rc == 0) {
        size_t at = MF_FRAME_HEADER - 1;
        frame.data[at] = (unsigned char)sample->type;
        snprintf(name, sizeof(name), "%s-body", sample->name);
        rc = write_seed(folder, name, mf_bytes_of(frame.data + at, frame.length - at));
    }
    mf_buffer_fini(&frame);
    return rc;
}

static int write_deflated(const char *folder)
{
    struct mf_buffer frame = {0};
    struct mf_error error = {0};
    unsigned char *data = mf_calloc(1, 100000);
    if (data == NULL)
        return -1;
    struct mf_chunk chunk = sample_chunk;
    chunk.data = mf_bytes_of(data, 100000);
    int rc = mf_encode_chunk(&chunk, &frame, &error);
    if (rc < 0)
        fprintf(stderr, "%s\n", error.text);
    else
        rc = write_seed(folder, "deflated", mf_buffer_view(&frame));
    mf_buffer_fini(&frame);
    mf_free(data);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_message_corpus FOLDER\n");
        return EXIT_FAILURE;
    }
    for (int i = 0; i < SAMPLE_COUNT; i++) {
        if (write_frame_and_body(argv[1], &samples[i]) < 0)
            return EXIT_FAILURE;
    }
    return write_deflated(argv[1]) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
