// sendfile(2), copy_file_range(2) and splice(2).
#include "../claim.h"

#include <sys/sendfile.h>
int main(void) {
    begin();
    fresh_directory();
    put("source", "0123456789");
    int from = MUST(open("source", O_RDONLY)), to = MUST(open("target", O_RDWR | O_CREAT, 0644)), ends[2];
    MUST(pipe(ends));
    off_t offset = 3;
    TRY(sendfile(to, from, &offset, 4));
    FACT(offset);
    FACT(lseek(from, 0, SEEK_CUR));
    TRY(sendfile(ends[1], from, NULL, 100));
    FACT(lseek(from, 0, SEEK_CUR));
    loff_t in = 8;
    TRY(syscall(SYS_copy_file_range, from, &in, to, NULL, 10L, 0));
    FACT(in);
    show("target");
    TRY(splice(ends[0], NULL, to, NULL, 5, 0));
    show("target");
    int second[2];
    MUST(pipe(second));
    TRY(tee(ends[0], second[1], 100, 0));
    char text[16] = "";
    FACT(read(second[0], text, 16));
    puts(text);
    FACT(read(ends[0], text, 16));
    TRY(splice(from, NULL, to, NULL, 5, 0));
    TRY(sendfile(from, to, NULL, 1));
    TRY(sendfile(to, ends[0], NULL, 1));
    struct iovec part = {"spliced", 7};
    TRY(vmsplice(ends[1], &part, 1, 0));
    FACT(read(ends[0], text, 16));
    return 0;
}
