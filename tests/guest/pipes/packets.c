// A pipe with O_DIRECT keeps packets apart.
#include "../claim.h"

int main(void) {
    begin();
    int ends[2];
    MUST(pipe2(ends, O_DIRECT | O_NONBLOCK));
    TRY(write(ends[1], "first", 5));
    TRY(write(ends[1], "second", 6));
    char text[16] = "";
    TRY(read(ends[0], text, 3));
    TRY(read(ends[0], text, 16));
    TRY(read(ends[0], text, 16));
    return 0;
}
