// Writes of PIPE_BUF bytes by many writers are never torn.
#include "../claim.h"

int main(void) {
    begin();
    int ends[2];
    MUST(pipe(ends));
    enum { WRITERS = 4, ROUNDS = 50, SIZE = 4096 };
    static char record[SIZE];
    for (int i = 0; i < WRITERS; i++) {
        if (MUST(fork()) == 0) {
            memset(record, 'a' + i, SIZE);
            for (int round = 0; round < ROUNDS; round++) write(ends[1], record, SIZE);
            _exit(0);
        }
    }
    close(ends[1]);
    int torn = 0, count = 0;
    for (size_t filled = 0;; filled = 0) {
        ssize_t size = 0;
        while (filled < SIZE && (size = read(ends[0], record + filled, SIZE - filled)) > 0) filled += size;
        if (filled < SIZE) break;
        count++;
        for (int i = 1; i < SIZE; i++) torn += record[i] != record[0];
    }
    FACT(count);
    FACT(torn);
    while (wait(NULL) > 0) {}
    return 0;
}
