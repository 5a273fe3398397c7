/* loopback PROGRAM [ARG...]: runs PROGRAM so that it can listen on 127.0.0.1 only, whatever address it asks for.
 *
 * For servers that have no setting for it (Milvus 2.3). The kernel hands each bind() of the program to a helper
 * process (seccomp user notification, Linux 5.9+): a bind to "any address" is done by the helper on the program's
 * own socket, with the loopback address in its place; every other bind goes on as it was. PROGRAM keeps the pid that
 * this was started with; the helper is its child and ends with it. Nothing else of the program is touched, and no
 * privilege is needed. Rejected: LD_PRELOAD (Go calls the kernel itself), a network namespace with a relay (a hop
 * more in every measurement), a firewall (changes the machine). It exits with 125 when the kernel cannot do this. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "loopback knows x86-64 and ARM64"
#endif

static int failed(const char *what) {
    fprintf(stderr, "loopback: %s: %s\n", what, strerror(errno));
    return 125;
}

/* A filter that reports bind() and lets everything else pass. */
static int install_filter(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bind, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return -1;
    }
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

static int send_fd(int channel, int fd) {
    char byte = 0;
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec data = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    return sendmsg(channel, &message, 0) == 1 ? 0 : -1;
}

static int receive_fd(int channel) {
    char byte;
    int fd = -1;
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec data = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (recvmsg(channel, &message, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&message) != NULL) {
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    }
    return fd;
}

/* Puts the loopback address in place of "any address"; false when the address is something else. */
static int hold(struct sockaddr_storage *address, socklen_t length) {
    static const struct in6_addr mapped = {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}}};
    if (address->ss_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)address;
        if (v4->sin_addr.s_addr != htonl(INADDR_ANY)) {
            return 0;
        }
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return 1;
    }
    if (address->ss_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
        if (!IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr)) {
            return 0;
        }
        v6->sin6_addr = mapped; /* 127.0.0.1 as an IPv6 socket that takes both kinds sees it */
        return 1;
    }
    return 0;
}

/* Answers one bind(): 0 or a negative errno by itself, or "go on". */
static void answer(const struct seccomp_notif *asked, struct seccomp_notif_resp *reply) {
    struct sockaddr_storage address = {0};
    size_t length = asked->data.args[2] < sizeof address ? (size_t)asked->data.args[2] : sizeof address;
    struct iovec here = {&address, length}, there = {(void *)(uintptr_t)asked->data.args[1], length};
    int process = -1, fd = -1;
    reply->id = asked->id;
    reply->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    if (process_vm_readv((pid_t)asked->pid, &here, 1, &there, 1, 0) != (ssize_t)length ||
        !hold(&address, (socklen_t)length)) {
        return;
    }
    reply->flags = 0;
    reply->error = -EACCES; /* rather no server than one on every interface */
    /* A thread's file descriptors are its process's: /proc tells which that is only by text, and pidfd_open wants
     * the leader. */
    char path[64], line[128];
    int leader = (int)asked->pid;
    snprintf(path, sizeof path, "/proc/%u/status", asked->pid);
    FILE *status = fopen(path, "re");
    while (status != NULL && fgets(line, sizeof line, status) != NULL && sscanf(line, "Tgid: %d", &leader) != 1) {}
    if (status != NULL) {
        fclose(status);
    }
    process = (int)syscall(SYS_pidfd_open, leader, 0);
    fd = process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, (int)asked->data.args[0], 0);
    if (fd >= 0) {
        reply->error = bind(fd, (struct sockaddr *)&address, (socklen_t)length) == 0 ? 0 : -errno;
        close(fd);
    }
    if (process >= 0) {
        close(process);
    }
}

static void serve(int notify) {
    struct pollfd ready = {notify, POLLIN, 0};
    for (;;) {
        if (poll(&ready, 1, -1) < 0 && errno == EINTR) {
            continue;
        }
        if (!(ready.revents & POLLIN)) {
            return; /* the program and all its children are gone */
        }
        struct seccomp_notif asked = {0};
        struct seccomp_notif_resp reply = {0};
        if (ioctl(notify, SECCOMP_IOCTL_NOTIF_RECV, &asked) == 0) {
            answer(&asked, &reply);
            ioctl(notify, SECCOMP_IOCTL_NOTIF_SEND, &reply);
        }
    }
}

int main(int argc, char **argv) {
    int channel[2];
    if (argc < 2) {
        fprintf(stderr, "usage: loopback PROGRAM [ARG...]\n");
        return 2;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) != 0) {
        return failed("socketpair");
    }
    pid_t helper = fork();
    if (helper < 0) {
        return failed("fork");
    }
    if (helper == 0) {
        close(channel[1]);
        signal(SIGTERM, SIG_IGN);
        signal(SIGINT, SIG_IGN);
        int notify = receive_fd(channel[0]);
        if (notify >= 0) {
            close(channel[0]);
            serve(notify);
        }
        return 0;
    }
    /* lets the helper look into its parent where Yama forbids it; refused where there is none */
    prctl(PR_SET_PTRACER, helper, 0, 0, 0);
    int notify = install_filter();
    if (notify < 0) {
        return failed("seccomp");
    }
    if (send_fd(channel[1], notify) != 0) {
        return failed("sendmsg");
    }
    close(notify);
    close(channel[0]);
    close(channel[1]);
    execvp(argv[1], argv + 1);
    return failed(argv[1]);
}
