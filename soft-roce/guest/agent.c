/*
 * Process 1 of a guest of the lab, once guest/init has made it ready, and a child for each of its
 * ports. They carry out the commands that the host sends (frame.h): start each in a session of its
 * own, send on what it prints, and at last its exit status. If the host goes away, or greets anew,
 * what runs is killed. It ends never, but for an error, which it prints: then the guest panics.
 */
#include "soft-roce/guest/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORDS_MAX 1024

struct job {
    pid_t pid;     /* 0: none runs */
    int output[2]; /* read ends of its standard output and standard error; -1: closed */
};

struct agent {
    int port;
    bool in_payload;
    size_t have; /* bytes of the head or of the payload that have come */
    struct lks_frame_head head;
    struct job job;
    char payload[LKS_FRAME_BYTES_MAX + 1];
};

static void on_signal(int number)
{
    (void)number; /* it only has to end a ppoll() */
}

static void fail(const char *what)
{
    fprintf(stderr, "agent: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Sends one frame; if the host is gone, the bytes are lost, as nobody wants them. */
static void send_frame(struct agent *agent, uint32_t kind, const void *payload, size_t bytes)
{
    char frame[sizeof(struct lks_frame_head) + 4096];
    struct lks_frame_head head = {kind, (uint32_t)bytes};

    memcpy(frame, &head, sizeof(head));
    memcpy(frame + sizeof(head), payload, bytes);
    bytes += sizeof(head);
    for (size_t done = 0; done < bytes;) {
        ssize_t written = write(agent->port, frame + done, bytes - done);
        if (written <= 0 && errno != EINTR && errno != EAGAIN)
            return;
        if (written > 0) {
            done += (size_t)written;
            continue;
        }
        struct pollfd room = {agent->port, POLLOUT, 0};
        poll(&room, 1, 100);
        if (room.revents & POLLHUP)
            return;
    }
}

static void close_job(struct job *job)
{
    for (int i = 0; i < 2; i++) {
        if (job->output[i] >= 0)
            close(job->output[i]);
        job->output[i] = -1;
    }
    job->pid = 0;
}

static void kill_job(struct job *job)
{
    if (job->pid == 0)
        return;
    kill(-job->pid, SIGKILL);
    waitpid(job->pid, NULL, 0);
    close_job(job);
}

/* In the child: becomes the command. Never returns. */
static void become(char **words, int variables, const int *outputs)
{
    sigset_t none;

    setsid();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGIO, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    dup2(outputs[0], STDOUT_FILENO);
    dup2(outputs[1], STDERR_FILENO);
    if (chdir(words[0]) != 0) {
        fprintf(stderr, "lab: %s: %s (in the guest)\n", words[0], strerror(errno));
        _exit(125);
    }
    for (int i = 0; i < variables; i++)
        putenv(words[2 + i]);
    execvp(words[2 + variables], words + 2 + variables);
    fprintf(stderr, "lab: %s: %s (in the guest)\n", words[2 + variables], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

static void start_job(struct agent *agent)
{
    char *words[WORDS_MAX + 1];
    int count = 0;
    int ends[2][2];

    agent->payload[agent->head.bytes] = 0;
    for (char *at = agent->payload; at < agent->payload + agent->head.bytes && count < WORDS_MAX;) {
        words[count++] = at;
        at += strlen(at) + 1;
    }
    words[count] = NULL;
    int variables = count >= 2 ? atoi(words[1]) : 0;
    if (count < 3 || variables < 0 || variables > count - 3 || agent->job.pid != 0) {
        uint32_t status = 125;
        send_frame(agent, LKS_FRAME_EXIT, &status, sizeof(status));
        return;
    }
    for (int i = 0; i < 2; i++) {
        if (pipe2(ends[i], O_CLOEXEC) != 0)
            fail("pipe");
    }
    agent->job.pid = fork();
    if (agent->job.pid < 0)
        fail("fork");
    if (agent->job.pid == 0)
        become(words, variables, (int[]){ends[0][1], ends[1][1]});
    for (int i = 0; i < 2; i++) {
        close(ends[i][1]);
        fcntl(ends[i][0], F_SETFL, O_NONBLOCK);
        agent->job.output[i] = ends[i][0];
    }
}

/* Sends on what the job has printed. Returns whether there was anything. */
static bool pass_output(struct agent *agent)
{
    char bytes[4096];
    bool any = false;

    for (int i = 0; i < 2; i++) {
        if (agent->job.output[i] < 0)
            continue;
        ssize_t got = read(agent->job.output[i], bytes, sizeof(bytes));
        if (got > 0) {
            send_frame(agent, i == 0 ? LKS_FRAME_OUTPUT : LKS_FRAME_ERROR, bytes, (size_t)got);
            any = true;
        } else if (got == 0) {
            close(agent->job.output[i]);
            agent->job.output[i] = -1;
        }
    }
    return any;
}

/* Tells the host if the job has ended. What it leaves running in the background runs on. */
static void look_for_end(struct agent *agent)
{
    int how;

    if (agent->job.pid == 0 || waitpid(agent->job.pid, &how, WNOHANG) != agent->job.pid)
        return;
    while (pass_output(agent))
        ;
    uint32_t status = (uint32_t)(WIFSIGNALED(how) ? 128 + WTERMSIG(how) : WEXITSTATUS(how));
    close_job(&agent->job);
    send_frame(agent, LKS_FRAME_EXIT, &status, sizeof(status));
}

static void take_frame(struct agent *agent)
{
    switch (agent->head.kind) {
    case LKS_FRAME_HELLO:
        kill_job(&agent->job);
        send_frame(agent, LKS_FRAME_HELLO, agent->payload, agent->head.bytes);
        return;
    case LKS_FRAME_RUN:
        start_job(agent);
        return;
    default:
        fprintf(stderr, "agent: frame of kind 0x%x ignored\n", agent->head.kind);
    }
}

/* Reads what the host has sent. Returns false if the host is gone. */
static bool pass_input(struct agent *agent)
{
    char *at = agent->in_payload ? agent->payload : (char *)&agent->head;
    size_t wanted = agent->in_payload ? agent->head.bytes : sizeof(agent->head);
    ssize_t got = read(agent->port, at + agent->have, wanted - agent->have);

    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    if (got == 0 && wanted > agent->have)
        return false;
    agent->have += (size_t)got;
    if (agent->have < wanted)
        return true;
    agent->have = 0;
    if (!agent->in_payload && agent->head.bytes > LKS_FRAME_BYTES_MAX) {
        fprintf(stderr, "agent: frame of %u bytes, at most %u\n", agent->head.bytes,
                LKS_FRAME_BYTES_MAX);
        return false;
    }
    agent->in_payload = !agent->in_payload && agent->head.bytes > 0;
    if (!agent->in_payload)
        take_frame(agent);
    return true;
}

static void forget_host(struct agent *agent)
{
    kill_job(&agent->job);
    agent->have = 0;
    agent->in_payload = false;
}

static void serve(struct agent *agent)
{
    sigset_t none;

    sigemptyset(&none);
    for (;;) {
        struct pollfd watched[3] = {
            {agent->port, POLLIN, 0},
            {agent->job.output[0], POLLIN, 0},
            {agent->job.output[1], POLLIN, 0},
        };
        struct timespec second = {1, 0};
        if (ppoll(watched, 3, &second, &none) < 0 && errno != EINTR)
            fail("poll");
        if (watched[0].revents & POLLHUP) {
            /* No host: SIGIO tells when one comes. */
            forget_host(agent);
            ppoll(NULL, 0, &second, &none);
            continue;
        }
        if (watched[0].revents & POLLIN && !pass_input(agent))
            forget_host(agent);
        pass_output(agent);
        look_for_end(agent);
    }
}

/* In a child: serves one port. Never returns. */
static void serve_port(const char *path)
{
    static struct agent agent = {.job = {0, {-1, -1}}};
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t watched;

    sigemptyset(&watched);
    sigaddset(&watched, SIGIO);
    sigaddset(&watched, SIGCHLD);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    sigaction(SIGIO, &action, NULL);
    sigaction(SIGCHLD, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    agent.port = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (agent.port < 0)
        fail(path);
    if (fcntl(agent.port, F_SETOWN, getpid()) != 0 ||
        fcntl(agent.port, F_SETFL, O_NONBLOCK | O_ASYNC) != 0)
        fail("SIGIO");
    serve(&agent);
}

/* As process 1 it also buries the orphans. */
int main(void)
{
    glob_t ports;

    setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
    setenv("HOME", "/root", 1);
    setenv("TERM", "dumb", 1);
    setsid();
    if (glob("/dev/vport*", 0, NULL, &ports) != 0) {
        fprintf(stderr, "agent: no port (/dev/vport*)\n");
        return 1;
    }
    for (size_t i = 0; i < ports.gl_pathc; i++) {
        if (fork() == 0)
            serve_port(ports.gl_pathv[i]);
    }
    globfree(&ports);
    for (;;) {
        if (waitpid(-1, NULL, 0) < 0)
            pause();
    }
}
