/* What the secure disk keeps about its blocks; the layout is the one on the disk (docs/storage.md). */
#ifndef OCCLUM_BLOCKS_H
#define OCCLUM_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#define BLOCK 4096
#define FANOUT 128
#define SEGMENT 1024
#define SEGMENTS 15
#define REGION (SEGMENT * SEGMENTS)

/* Where a block lies and how it was sealed. All zeros: there is none, it reads as zeros. */
struct entry {
	uint8_t tag[16];
	uint64_t epoch;
	uint32_t counter;
	uint32_t place;
};

/* A node of the index and of the space map. */
struct node {
	struct entry entries[FANOUT];
};

/* Which blocks of a region hold something: in the state that is being built, and in any that may still be needed. */
struct region {
	uint64_t generation;
	uint64_t stamps[SEGMENTS];
	uint8_t spare[BLOCK - 8 - 8 * SEGMENTS - 2 * (REGION / 8)];
	uint8_t used[REGION / 8];
	uint8_t busy[REGION / 8];
};

_Static_assert(sizeof(struct entry) == 32, "entry layout");
_Static_assert(sizeof(struct node) == BLOCK, "node layout");
_Static_assert(sizeof(struct region) == BLOCK, "region layout");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the disk is little endian");

struct seal_key *seal_key_new(const uint8_t *key, int bytes);
void seal_key_free(struct seal_key *key);
struct pending;
void pending_free(struct pending *pending);

#endif
