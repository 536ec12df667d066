/* Plans that store, for the search to choose among. */
#ifndef PLANNER_STORE_STORE_PLANS_H
#define PLANNER_STORE_STORE_PLANS_H

#include "planner/store/store_search.h"

/* sequential: every tier for the boundaries, with and without the input and the last one. */
int store_offer_sequential(StoreSearch *search);

/* store, stages taking turns: 1, 2, 4, ... blocks a stage, on groups of 1, 2, 4, ... devices in
 * turn. */
int store_offer_turns(StoreSearch *search);

/* store, the first epoch by relay's stages: later as in the first epoch, one block after another on
 * all devices, all on all, lists of blocks by longest processing time, even cuts; stored: all
 * boundaries, those between stages, none that a stage can make from the one below in less time than
 * it takes to fetch. */
int store_offer_relaying(StoreSearch *search, const Plan *relay);

/* The best plan in row with one boundary more, one less, or one in another tier; or with a stage of
 * later on one device or on all. */
int store_offer_neighbours(StoreSearch *search);

/* All plans there are: every first epoch of ahd's kind and every turns, stored set, tiers, stages
 * of later, devices with equal shares, order. Nothing is offered, and *all is false, where they
 * would be more than most. */
int store_offer_all(StoreSearch *search, int64_t most, bool *all);

#endif
