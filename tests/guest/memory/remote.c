// process_vm_readv(2) and process_vm_writev(2): the memory of a child, whole pages, short transfers, errors.
#include "../claim.h"
#include <sys/mman.h>
#include <sys/uio.h>

int main(void) {
    begin();
    char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(pages + 2 * 4096, 4096);
    strcpy(pages, "parent");
    int ready[2], go[2];
    pipe(ready);
    pipe(go);
    pid_t child = fork();
    if (child == 0) {
        strcpy(pages, "child");
        strcpy(pages + 4096, "second");
        write(ready[1], "x", 1);
        read(go[0], pages + 100, 1);
        puts(pages);
        fflush(stdout);
        _exit(0);
    }
    char in[8192] = "", other[16] = "";
    read(ready[0], in, 1);
    struct iovec local[2] = {{in, 6}, {other, 7}}, remote[2] = {{pages, 6}, {pages + 4096, 7}};
    TRY(process_vm_readv(child, local, 2, remote, 2, 0));
    printf("%s %s %s\n", in, other, pages);
    struct iovec word = {"written", 8}, whole = {in, sizeof in}, beyond = {pages + 4096, sizeof in};
    TRY(process_vm_writev(child, &word, 1, remote, 1, 0));
    TRY(process_vm_writev(child, &word, 1, &(struct iovec){pages, 8}, 1, 0));
    TRY(process_vm_readv(child, &whole, 1, &beyond, 1, 0));
    TRY(process_vm_readv(child, &whole, 1, &(struct iovec){pages + 2 * 4096, 10}, 1, 0));
    TRY(process_vm_readv(child, &whole, 1, &beyond, 1, 1));
    TRY(process_vm_readv(child, &whole, 1, &beyond, 0, 0));
    TRY(process_vm_readv(999999, &whole, 1, &beyond, 1, 0));
    TRY(process_vm_readv(child, &whole, 1, &beyond, 2000, 0));
    TRY(process_vm_readv(getpid(), local, 1, remote, 1, 0));
    puts(in);
    write(go[1], "x", 1);
    reap("child", child);
    TRY(process_vm_readv(child, &whole, 1, &beyond, 1, 0));
    return 0;
}
