// SCM_RIGHTS passes descriptors, SCM_CREDENTIALS who sent.
#include "../claim.h"

int main(void) {
    begin();
    fresh_directory();
    int pair[2], ends[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    MUST(pipe(ends));
    char byte = 'm', space[CMSG_SPACE(2 * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = CMSG_SPACE(2 * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(header), ends, sizeof ends);
    TRY(sendmsg(pair[0], &message, 0));
    close(ends[0]);
    close(ends[1]);
    pid_t child = MUST(fork());
    if (child == 0) {
        memset(space, 0, sizeof space);
        message.msg_controllen = sizeof space;
        TRY(recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC));
        header = CMSG_FIRSTHDR(&message);
        FACT(header && header->cmsg_type == SCM_RIGHTS);
        memcpy(ends, CMSG_DATA(header), sizeof ends);
        TRY(write(ends[1], "through", 7));
        char text[8] = "";
        TRY(read(ends[0], text, 7));
        puts(text);
        TRY(fcntl(ends[0], F_GETFD));
        _exit(0);
    }
    reap("receiver", child);
    int on = 1;
    TRY(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
    child = MUST(fork());
    if (child == 0) {
        write(pair[0], "c", 1);
        _exit(0);
    }
    memset(space, 0, sizeof space);
    message.msg_controllen = sizeof space;
    TRY(recvmsg(pair[1], &message, 0));
    header = CMSG_FIRSTHDR(&message);
    FACT(header && header->cmsg_type == SCM_CREDENTIALS);
    struct ucred credentials = {0};
    if (header) memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
    FACT(credentials.pid == child && credentials.uid == getuid());
    waitpid(child, NULL, 0);
    MUST(pipe(ends));
    message.msg_controllen = CMSG_SPACE(sizeof(int));
    header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    int bad = 99;
    memcpy(CMSG_DATA(header), &bad, sizeof bad);
    TRY(sendmsg(pair[0], &message, 0));
    memcpy(CMSG_DATA(header), &ends[0], sizeof bad);
    TRY(sendmsg(pair[0], &message, 0));
    char small[4];
    message.msg_control = small;
    message.msg_controllen = 0;
    TRY(recvmsg(pair[1], &message, 0));
    FACT((message.msg_flags & MSG_CTRUNC) != 0);
    return 0;
}
