/* Where the blocks of the secure disk lie: repeats over many entries and bits what Python decided for them.
 *
 * Everything works on pages of 4096 bytes in one arena. Whoever calls has loaded the pages and checked the numbers. */
#include <stdlib.h>
#include <string.h>

#include "blocks.h"

static struct entry *entry_at(uint8_t *arena, uint32_t slot, uint32_t address)
{
	return &((struct node *)(arena + (size_t)slot * BLOCK))->entries[address % FANOUT];
}

void map_get(uint8_t *arena, const uint32_t *slots, const uint32_t *addresses, uint32_t count, struct entry *entries)
{
	for (uint32_t i = 0; i < count; i++)
		entries[i] = *entry_at(arena, slots[i], addresses[i]);
}

/* Set entries. The places that they replace are collected: those sealed in `epoch` from `since` on apart. */
void map_set(uint8_t *arena, const uint32_t *slots, const uint32_t *addresses, const struct entry *entries, uint32_t count,
	     uint64_t epoch, uint32_t since, uint32_t *old, uint32_t *old_count, uint32_t *fresh, uint32_t *fresh_count)
{
	uint32_t olds = 0, freshes = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct entry *entry = entry_at(arena, slots[i], addresses[i]);

		if (entry->place && entry->epoch == epoch && entry->counter >= since)
			fresh[freshes++] = entry->place;
		else if (entry->place)
			old[olds++] = entry->place;
		*entry = entries[i];
	}
	*old_count = olds;
	*fresh_count = freshes;
}

/* Give blocks another place where their entries are still the expected ones; `done` says for which. */
uint32_t map_move(uint8_t *arena, const uint32_t *slots, const uint32_t *addresses, const struct entry *expected,
		  const uint32_t *places, uint32_t count, uint8_t *done)
{
	uint32_t moved = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct entry *entry = entry_at(arena, slots[i], addresses[i]);

		done[i] = memcmp(entry, &expected[i], sizeof(*entry)) == 0;
		if (done[i]) {
			entry->place = places[i];
			moved++;
		}
	}
	return moved;
}

/* The index of the first entry of each run: places that follow one another, or holes. */
uint32_t entry_runs(const struct entry *entries, uint32_t count, uint32_t *runs)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t place = entries[i].place, before = i ? entries[i - 1].place : 0;

		if (i == 0 || (place ? !before || place != before + 1 : before != 0))
			runs[found++] = i;
	}
	return found;
}

uint32_t place_runs(const uint32_t *places, uint32_t count, uint32_t *runs)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < count; i++)
		if (i == 0 || places[i] != places[i - 1] + 1)
			runs[found++] = i;
	return found;
}

/* -- space ---------------------------------------------------------------------------------------------- */

static int bit(const uint8_t *bits, uint32_t number)
{
	return bits[number / 8] >> number % 8 & 1;
}

static void set_bit(uint8_t *bits, uint32_t number)
{
	bits[number / 8] |= (uint8_t)(1 << number % 8);
}

static void clear_bit(uint8_t *bits, uint32_t number)
{
	bits[number / 8] &= (uint8_t)~(1 << number % 8);
}

/* Take up to `want` blocks that are not busy, from offset `from` up to `end`; their places begin at `base`. */
uint32_t region_take(uint8_t *page, uint32_t from, uint32_t end, uint32_t want, uint32_t base, uint32_t *places)
{
	struct region *region = (struct region *)page;
	uint32_t taken = 0;

	for (uint32_t i = from; i < end && taken < want; i++) {
		if (i % 8 == 0 && region->busy[i / 8] == 0xff) {
			i += 7;
			continue;
		}
		if (bit(region->busy, i))
			continue;
		set_bit(region->used, i);
		set_bit(region->busy, i);
		places[taken++] = base + i;
	}
	return taken;
}

static struct region *region_of(uint8_t *arena, const int32_t *slots, uint32_t first, uint32_t place)
{
	return (struct region *)(arena + (size_t)slots[(place - first) / REGION] * BLOCK);
}

/* The regions of these places that are not loaded; a region may come more than once. */
uint32_t regions_missing(const int32_t *slots, uint32_t first, const uint32_t *places, uint32_t count, uint32_t *missing)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t number = (places[i] - first) / REGION;

		if (slots[number] < 0 && (found == 0 || missing[found - 1] != number))
			missing[found++] = number;
	}
	return found;
}

/* The blocks are not used any more; those that are not held may be taken at once. How many were used. */
uint32_t regions_free(uint8_t *arena, const int32_t *slots, uint32_t first, const uint32_t *places, uint32_t count, int hold)
{
	uint32_t freed = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct region *region = region_of(arena, slots, first, places[i]);
		uint32_t offset = (places[i] - first) % REGION;

		freed += (uint32_t)bit(region->used, offset);
		clear_bit(region->used, offset);
		if (!hold)
			clear_bit(region->busy, offset);
	}
	return freed;
}

/* The blocks are used. How many were not before. */
uint32_t regions_mark(uint8_t *arena, const int32_t *slots, uint32_t first, const uint32_t *places, uint32_t count)
{
	uint32_t marked = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct region *region = region_of(arena, slots, first, places[i]);
		uint32_t offset = (places[i] - first) % REGION;

		marked += (uint32_t)!bit(region->used, offset);
		set_bit(region->used, offset);
		set_bit(region->busy, offset);
	}
	return marked;
}

/* Nothing is held any more. */
void region_settle(uint8_t *page)
{
	struct region *region = (struct region *)page;

	memcpy(region->busy, region->used, sizeof(region->busy));
}

/* How many blocks of each segment may be taken, and how many are used. */
void region_counts(const uint8_t *page, uint16_t *available, uint16_t *used)
{
	const struct region *region = (const struct region *)page;

	for (uint32_t segment = 0; segment < SEGMENTS; segment++) {
		uint32_t busy_bits = 0, used_bits = 0;

		for (uint32_t i = 0; i < SEGMENT / 8; i += 8) {
			uint64_t word;

			memcpy(&word, region->busy + segment * (SEGMENT / 8) + i, 8);
			busy_bits += (uint32_t)__builtin_popcountll(word);
			memcpy(&word, region->used + segment * (SEGMENT / 8) + i, 8);
			used_bits += (uint32_t)__builtin_popcountll(word);
		}
		available[segment] = (uint16_t)(SEGMENT - busy_bits);
		used[segment] = (uint16_t)used_bits;
	}
}

/* The used blocks of a segment and whose they are. */
uint32_t segment_used(const uint8_t *page, uint32_t segment, const uint8_t *owners_page, uint32_t base, uint32_t *places,
		      uint32_t *owners)
{
	const struct region *region = (const struct region *)page;
	const uint32_t *all = (const uint32_t *)owners_page;
	uint32_t found = 0;

	for (uint32_t i = 0; i < SEGMENT; i++) {
		if (!bit(region->used, segment * SEGMENT + i))
			continue;
		places[found] = base + segment * SEGMENT + i;
		owners[found++] = all[i];
	}
	return found;
}

/* Note whose the blocks of one segment are. */
void owners_set(uint8_t *owners_page, uint32_t base, const uint32_t *places, const uint32_t *owners, uint32_t count)
{
	uint32_t *all = (uint32_t *)owners_page;

	for (uint32_t i = 0; i < count; i++)
		all[(places[i] - base) % SEGMENT] = owners[i];
}

int page_is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, BLOCK - 1) == 0;
}

/* -- entries that are not in the index yet ---------------------------------------------------------------- */

/* A hash table with linear probing. An address is kept as its successor, so that 0 is nobody's. */
struct pending {
	uint32_t mask, count;
	uint32_t *names;
	struct entry *entries;
};

struct pending *pending_new(uint32_t places)
{
	struct pending *pending = calloc(1, sizeof(*pending));

	if (!pending)
		return NULL;
	pending->mask = places - 1;
	pending->names = calloc(places, sizeof(*pending->names));
	pending->entries = calloc(places, sizeof(*pending->entries));
	if (!pending->names || !pending->entries) {
		pending_free(pending);
		return NULL;
	}
	return pending;
}

void pending_free(struct pending *pending)
{
	free(pending->names);
	free(pending->entries);
	free(pending);
}

void pending_clear(struct pending *pending)
{
	memset(pending->names, 0, ((size_t)pending->mask + 1) * sizeof(*pending->names));
	pending->count = 0;
}

uint32_t pending_count(const struct pending *pending)
{
	return pending->count;
}

static uint32_t find(const struct pending *pending, uint32_t address)
{
	uint32_t place = address * 2654435761U & pending->mask;

	while (pending->names[place] && pending->names[place] != address + 1)
		place = (place + 1) & pending->mask;
	return place;
}

struct replaced {
	uint64_t epoch;
	uint32_t since, olds, freshes;
	uint32_t *old, *fresh;
};

static void replace(struct replaced *replaced, const struct entry *before)
{
	if (before->place && before->epoch == replaced->epoch && before->counter >= replaced->since)
		replaced->fresh[replaced->freshes++] = before->place;
	else if (before->place)
		replaced->old[replaced->olds++] = before->place;
}

/* Keep entries; there is room for them. The places of those that they replace are collected, as by map_set. */
void pending_put(struct pending *pending, const uint32_t *addresses, const struct entry *entries, uint32_t count,
		 uint64_t epoch, uint32_t since, uint32_t *old, uint32_t *old_count, uint32_t *fresh,
		 uint32_t *fresh_count)
{
	struct replaced replaced = {epoch, since, 0, 0, old, fresh};

	for (uint32_t i = 0; i < count; i++) {
		uint32_t place = find(pending, addresses[i]);

		if (pending->names[place])
			replace(&replaced, &pending->entries[place]);
		else
			pending->count++;
		pending->names[place] = addresses[i] + 1;
		pending->entries[place] = entries[i];
	}
	*old_count = replaced.olds;
	*fresh_count = replaced.freshes;
}

/* Let the entries of a range be holes; the places that they had are collected. */
void pending_discard(struct pending *pending, uint32_t first, uint32_t count, uint64_t epoch, uint32_t since, uint32_t *old,
		     uint32_t *old_count, uint32_t *fresh, uint32_t *fresh_count)
{
	struct replaced replaced = {epoch, since, 0, 0, old, fresh};
	int few = count < pending->mask;

	for (uint32_t i = 0; i < (few ? count : pending->mask + 1); i++) {
		uint32_t place = few ? find(pending, first + i) : i;
		uint32_t name = pending->names[place];

		if (!name || name - 1 < first || name - 1 - first >= count)
			continue;
		replace(&replaced, &pending->entries[place]);
		memset(&pending->entries[place], 0, sizeof(struct entry));
	}
	*old_count = replaced.olds;
	*fresh_count = replaced.freshes;
}

/* Put the entries that are kept here over those of the index; how many there were. */
uint32_t pending_get(const struct pending *pending, const uint32_t *addresses, uint32_t count, struct entry *entries)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t place = find(pending, addresses[i]);

		if (pending->names[place]) {
			entries[i] = pending->entries[place];
			found++;
		}
	}
	return found;
}

/* As map_move; 2 for an address whose entry is not kept here. */
void pending_move(struct pending *pending, const uint32_t *addresses, const struct entry *expected, const uint32_t *places,
		  uint32_t count, uint8_t *done)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t place = find(pending, addresses[i]);
		struct entry *entry = &pending->entries[place];

		if (!pending->names[place]) {
			done[i] = 2;
			continue;
		}
		done[i] = memcmp(entry, &expected[i], sizeof(*entry)) == 0;
		if (done[i])
			entry->place = places[i];
	}
}

static int compare(const void *one, const void *other)
{
	uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;

	return a < b ? -1 : a > b;
}

/* All addresses, in ascending order. */
void pending_sorted(const struct pending *pending, uint32_t *addresses)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i <= pending->mask; i++)
		if (pending->names[i])
			addresses[found++] = pending->names[i] - 1;
	qsort(addresses, found, sizeof(*addresses), compare);
}
