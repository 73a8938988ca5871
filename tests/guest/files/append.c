// Two processes that append lose nothing.
#include "../claim.h"

int main(void) {
    begin();
    fresh_directory();
    enum { ROUNDS = 200, SIZE = 100 };
    char record[SIZE];
    pid_t child = MUST(fork());
    memset(record, child == 0 ? 'c' : 'p', SIZE);
    int fd = MUST(open("log", O_WRONLY | O_CREAT | O_APPEND, 0644));
    for (int i = 0; i < ROUNDS; i++) MUST(write(fd, record, SIZE));
    if (child == 0) _exit(0);
    reap("child", child);
    fd = MUST(open("log", O_RDONLY));
    int count[2] = {0, 0}, torn = 0;
    while (read(fd, record, SIZE) == SIZE) {
        count[record[0] == 'c']++;
        for (int i = 1; i < SIZE; i++) torn += record[i] != record[0];
    }
    printf("parent %d child %d torn %d\n", count[0], count[1], torn);
    return 0;
}
