/* SPDX-License-Identifier: Apache-2.0 */
/* The script of a job that is a worker: see worker_script.h. */
#include "master/launch/worker_script.h"

/* Some engines end only the process that they have started: what it is asked, its worker is asked.
 * Not by dying: it has to sweep and to say how that ended. wait ends early with such a signal; the
 * worker is over when there is no process of that number any more. */
#define PASS_ON "e='' k=''\ntrap 'e=1; [ -z \"$k\" ] || kill -TERM \"$k\" 2>/dev/null' TERM INT\n"
#define AWAIT                                                                                      \
    "k=$!\n[ -z \"$e\" ] || kill -TERM \"$k\"\n"                                                   \
    "while wait \"$k\"; c=$?; [ $c -gt 128 ] && kill -0 \"$k\" 2>/dev/null; do :; done\n"

int worker_script_append(struct mf_buffer *script,
                         const char *folder,
                         const char *program,
                         const char *run_id,
                         const char *first,
                         struct mf_error *error)
{
    int rc = mf_buffer_printf(script,
                              error,
                              PASS_ON "d='%s' r='%s' p='%s%s'\n"
                                      "umask 077\n"
                                      "exec 3<\"$d/input.$w\" || exit 1\n"
                                      "rm -f \"$d/input.$w\"\n"
                                      "exec >\"$d/out.$w\" 2>&1 || exit 1\n"
                                      "%s"
                                      "echo \"mayfly 1 address $(hostname -I 2>/dev/null)\"\n"
                                      "\"$p\" start \"$r\" --stay <&3 3<&- &\n" AWAIT "exec 3<&-\n"
                                      "\"$p\" sweep \"$r\" --worker \"$w\" >/dev/null\n"
                                      "exit $c\n",
                              folder,
                              run_id,
                              program == NULL ? folder : program,
                              program == NULL ? "/mayfly-worker" : "",
                              first);
    return rc < 0 ? -1 : 0;
}
