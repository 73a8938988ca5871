// System V shared memory.
#include "../claim.h"

#include <sys/ipc.h>
#include <sys/shm.h>
int main(void) {
    begin();
    int id = MUST(shmget(IPC_PRIVATE, 10000, IPC_CREAT | 0600));
    char *memory = shmat(id, NULL, 0);
    FACT(memory != (void *)-1);
    FACT(memory[9999]);
    strcpy(memory, "parent");
    pid_t child = MUST(fork());
    if (child == 0) {
        char *again = shmat(id, NULL, SHM_RDONLY);
        puts(again);
        strcpy(memory, "child");
        _exit(0);
    }
    reap("child", child);
    puts(memory);
    struct shmid_ds info;
    TRY(shmctl(id, IPC_STAT, &info));
    printf("size %zu attached %ld mode %o\n", info.shm_segsz, (long)info.shm_nattch, info.shm_perm.mode & 0777);
    TRY(shmctl(id, IPC_RMID, NULL));
    puts(memory);
    TRY(shmdt(memory));
    OK(shmat(id, NULL, 0));
    TRY(shmdt(memory));
    TRY(shmget(0x7e57c1a1, 100, 0));
    return 0;
}
