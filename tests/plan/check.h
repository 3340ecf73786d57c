/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Judges plans by the instance alone, with code of its own: nothing of the planner's tables is
 * used. */
#ifndef PLAN_CHECK_H
#define PLAN_CHECK_H

#include "../../libha/plan.h"

/* Each returns NULL if all is well, else what is wrong (a static text). */

/* Every guest is where it may be, and all hard rules hold. */
const char *check_placement(const struct ha_plan *plan);
/* The actions lead to the placement, and every state on the way is allowed: with all steps done,
 * with each single one failing, and with many failing (`seed`). A step is not tried if one that it
 * relies on has not been done. */
const char *check_steps(const struct ha_plan *plan, uint64_t seed);
/* Nobody was disturbed who must not be. */
const char *check_freedom(const struct ha_plan *plan);
/* As good as first-fit decreasing, and no guest is left out that would simply fit. */
const char *check_first_fit(const struct ha_plan *plan);
/* `tolerates` against every set of hosts and every way to place. NULL also where that is too much.
 */
const char *check_tolerates(const struct ha_plan *plan, bool *ret_looked);
/* All texts are there. */
const char *check_texts(const struct ha_plan *plan);

#endif
