/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what is pushed: see queue_input.h. */
#include "master/commands/queue_input.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define PIECE (256u * 1024)

/* The text of the next item, without its end. False: it is not all there. */
static bool take(struct queue_input *input, struct mf_bytes *text)
{
    const unsigned char *data = input->read.data;
    size_t length = input->read.length;
    if (input->at == length)
        return false;
    int end = input->form == QUEUE_INPUT_NUL ? '\0' : '\n';
    const unsigned char *found =
        input->looked < length ? memchr(data + input->looked, end, length - input->looked) : NULL;
    input->looked = length;
    if (found == NULL && !input->is_ended)
        return false;
    size_t stop = found == NULL ? length : (size_t)(found - data);
    *text = mf_bytes_of(data + input->at, stop - input->at);
    input->at = input->looked = found == NULL ? length : stop + 1;
    input->items++;
    return true;
}

static bool is_empty(const struct queue_input *input, struct mf_bytes text)
{
    if (input->form == QUEUE_INPUT_JSONL)
        while (text.length > 0 &&
               (text.data[text.length - 1] == ' ' || text.data[text.length - 1] == '\t' ||
                text.data[text.length - 1] == '\r'))
            text.length--;
    return text.length == 0 && input->form != QUEUE_INPUT_NUL;
}

int queue_input_next(struct queue_input *input,
                     struct queue_input_item *item,
                     struct mf_error *error)
{
    struct mf_bytes text;
    do {
        if (!take(input, &text)) {
            if (input->read.length - input->at <= QUEUE_INPUT_ITEM_MAX)
                return 0;
            input->items++;
            return mf_raise(error, MF_EUSAGE, "it is longer than %u bytes", QUEUE_INPUT_ITEM_MAX);
        }
    } while (is_empty(input, text));
    *item = (struct queue_input_item){.body = text, .number = input->items};
    if (input->form != QUEUE_INPUT_JSONL)
        return 1;
    if (message_line_read(&input->line, text, error) < 0)
        return -1;
    item->body = input->line.body;
    item->key = input->line.key;
    item->group = input->line.group;
    return 1;
}

bool queue_input_has_more(const struct queue_input *input)
{
    struct pollfd fd = {.fd = input->fd, .events = POLLIN};
    return input->is_ended || poll(&fd, 1, 0) != 0;
}

/* What was taken makes room. */
static void drop_taken(struct queue_input *input)
{
    size_t left = input->read.length - input->at;
    if (left > 0 && input->at > 0)
        memmove(input->read.data, input->read.data + input->at, left);
    input->read.length = left;
    input->looked -= input->at;
    input->at = 0;
}

int queue_input_fill(struct queue_input *input, struct mf_error *error)
{
    if (input->is_ended)
        return 0;
    drop_taken(input);
    if (mf_buffer_reserve(&input->read, PIECE, error) < 0)
        return -1;
    ssize_t n;
    do
        n = read(input->fd, input->read.data + input->read.length, PIECE);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return mf_raise_errno(error, "cannot read what is to be pushed");
    input->read.length += (size_t)n;
    input->is_ended = n == 0;
    return 1;
}

void queue_input_fini(struct queue_input *input)
{
    mf_buffer_fini(&input->read);
    message_line_fini(&input->line);
}
