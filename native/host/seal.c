/* Sealing many blocks with AES-GCM in one call, without Python's lock: the secure disk's per-block work. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"

#define CONTEXTS 4
#define TAG 16
#define NONCE 12

/* One AES key. A context holds its expanded form; several, so that several threads can use the key at once. */
struct seal_key {
	uint8_t key[32];
	int bytes;
	EVP_CIPHER_CTX *contexts[CONTEXTS];
	int taken[CONTEXTS];
};

static EVP_CIPHER_CTX *make_context(const struct seal_key *key)
{
	const EVP_CIPHER *cipher = key->bytes == 32 ? EVP_aes_256_gcm() : EVP_aes_128_gcm();
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

	if (context && EVP_EncryptInit_ex(context, cipher, NULL, key->key, NULL) == 1)
		return context;
	EVP_CIPHER_CTX_free(context);
	return NULL;
}

static EVP_CIPHER_CTX *borrow(struct seal_key *key, int *place)
{
	for (int i = 0; i < CONTEXTS; i++) {
		if (__atomic_exchange_n(&key->taken[i], 1, __ATOMIC_ACQUIRE))
			continue;
		if (!key->contexts[i])
			key->contexts[i] = make_context(key);
		*place = i;
		return key->contexts[i];
	}
	*place = -1;
	return make_context(key);
}

static void give_back(struct seal_key *key, EVP_CIPHER_CTX *context, int place)
{
	if (place < 0)
		EVP_CIPHER_CTX_free(context);
	else
		__atomic_store_n(&key->taken[place], 0, __ATOMIC_RELEASE);
}

struct seal_key *seal_key_new(const uint8_t *key, int bytes)
{
	struct seal_key *made;

	if (bytes != 16 && bytes != 32)
		return NULL;
	made = calloc(1, sizeof(*made));
	if (!made)
		return NULL;
	memcpy(made->key, key, (size_t)bytes);
	made->bytes = bytes;
	made->contexts[0] = make_context(made);
	if (!made->contexts[0]) {
		seal_key_free(made);
		return NULL;
	}
	return made;
}

void seal_key_free(struct seal_key *key)
{
	for (int i = 0; i < CONTEXTS; i++)
		EVP_CIPHER_CTX_free(key->contexts[i]);
	OPENSSL_cleanse(key, sizeof(*key));
	free(key);
}

/* The nonce is the counter alone: a key seals under each counter once, whatever it seals. */
static int seal_with(EVP_CIPHER_CTX *context, uint32_t counter, const void *extra, int extra_size, const uint8_t *from,
		     int size, uint8_t *to, uint8_t *tag)
{
	uint8_t nonce[NONCE] = {0};
	int length;

	memcpy(nonce, &counter, sizeof(counter));
	return EVP_EncryptInit_ex(context, NULL, NULL, NULL, nonce) == 1 &&
	       EVP_EncryptUpdate(context, NULL, &length, extra, extra_size) == 1 &&
	       EVP_EncryptUpdate(context, to, &length, from, size) == 1 && length == size &&
	       EVP_EncryptFinal_ex(context, to + size, &length) == 1 &&
	       EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG, tag) == 1;
}

static int open_with(EVP_CIPHER_CTX *context, uint32_t counter, const void *extra, int extra_size, const uint8_t *from,
		     int size, uint8_t *to, const uint8_t *tag)
{
	uint8_t nonce[NONCE] = {0}, expected[TAG];
	int length;

	memcpy(nonce, &counter, sizeof(counter));
	memcpy(expected, tag, TAG);
	return EVP_DecryptInit_ex(context, NULL, NULL, NULL, nonce) == 1 &&
	       EVP_DecryptUpdate(context, NULL, &length, extra, extra_size) == 1 &&
	       EVP_DecryptUpdate(context, to, &length, from, size) == 1 && length == size &&
	       EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG, expected) == 1 &&
	       EVP_DecryptFinal_ex(context, to + size, &length) == 1;
}

int seal_bytes(struct seal_key *key, uint32_t counter, const uint8_t *extra, int extra_size, const uint8_t *from, int size,
	       uint8_t *to, uint8_t *tag)
{
	int place;
	EVP_CIPHER_CTX *context = borrow(key, &place);
	int good = context && seal_with(context, counter, extra, extra_size, from, size, to, tag);

	give_back(key, context, place);
	return good;
}

int open_bytes(struct seal_key *key, uint32_t counter, const uint8_t *extra, int extra_size, const uint8_t *from, int size,
	       uint8_t *to, const uint8_t *tag)
{
	int place;
	EVP_CIPHER_CTX *context = borrow(key, &place);
	int good = context && open_with(context, counter, extra, extra_size, from, size, to, tag);

	give_back(key, context, place);
	return good;
}

/* What a block is sealed for: a block of one kind or number opens as no other. */
struct purpose {
	uint32_t kind, address;
};

int seal_blocks(struct seal_key *key, uint64_t epoch, uint32_t counter, uint32_t kind, const uint32_t *addresses,
		const uint8_t *from, const uint32_t *positions, const uint32_t *places, uint32_t count, uint8_t *to,
		struct entry *entries)
{
	int place, good;
	EVP_CIPHER_CTX *context = borrow(key, &place);

	good = context != NULL;
	for (uint32_t i = 0; good && i < count; i++) {
		struct purpose purpose = {kind, addresses[i]};
		const uint8_t *source = from + (size_t)(positions ? positions[i] : i) * BLOCK;
		struct entry *entry = &entries[i];

		good = seal_with(context, counter + i, &purpose, sizeof(purpose), source, BLOCK, to + (size_t)i * BLOCK,
				 entry->tag);
		entry->epoch = epoch;
		entry->counter = counter + i;
		entry->place = places[i];
	}
	give_back(key, context, place);
	return good;
}

/* Open the blocks of one epoch; others are left alone. A block that does not verify is zeroed. */
uint32_t open_blocks(struct seal_key *key, uint64_t epoch, uint32_t kind, const uint32_t *addresses,
		     const struct entry *entries, uint32_t count, const uint8_t *from, uint8_t *to, uint8_t *bad)
{
	int place;
	uint32_t failed = 0;
	EVP_CIPHER_CTX *context = borrow(key, &place);

	for (uint32_t i = 0; i < count; i++) {
		const struct entry *entry = &entries[i];
		struct purpose purpose = {kind, addresses[i]};
		uint8_t *target = to + (size_t)i * BLOCK;

		if (entry->epoch != epoch)
			continue;
		bad[i] = !context || !open_with(context, entry->counter, &purpose, sizeof(purpose), from + (size_t)i * BLOCK,
						BLOCK, target, entry->tag);
		if (bad[i]) {
			memset(target, 0, BLOCK);
			failed++;
		}
	}
	give_back(key, context, place);
	return failed;
}
