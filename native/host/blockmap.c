/* Where the blocks of the secure disk lie: repeats over many entries and bits what Python decided for them.
 *
 * Everything works on pages of 4096 bytes in one arena. Whoever calls has loaded the pages and checked the numbers. */
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
