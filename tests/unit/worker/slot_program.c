/* SPDX-License-Identifier: Apache-2.0 */
/* The slot process of the tests: as `mayfly-worker slot`, without the rest of the worker. */
#include "worker/executor.h"

int main(void)
{
    return slot_main();
}
