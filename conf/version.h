/* conf/version.h - the one place of the version.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_VERSION_H
#define PGWEIR_CONF_VERSION_H

#define PGWEIR_VERSION "0.1.0"

/* of the release, for the manual pages */
#define PGWEIR_DATE "2026-11-23"

#endif
