/* proxy/hush.h - secrets are not for core files, nor for who lists processes.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HUSH_H
#define PGWEIR_HUSH_H

/* No core dump, not even one that the kernel pipes to a program (for which the limit is
 * not asked), and no debugger of the same user: when the limit of core files is 0, as it
 * is if nobody has raised it. */
void hush_core(void);

/* Writes stars over an argument that has a password in it. "postgresql://" stays. */
void hush_argument(char *arg);

#endif
