// Many children at once; every status arrives once.
#include "../claim.h"

int main(void) {
    begin();
    for (int i = 0; i < 40; i++) {
        pid_t child = MUST(fork());
        if (child == 0) _exit(i);
    }
    int sum = 0, count = 0, status;
    while (wait(&status) > 0) {
        sum += WEXITSTATUS(status);
        count++;
    }
    FACT(count);
    FACT(sum);
    return 0;
}
