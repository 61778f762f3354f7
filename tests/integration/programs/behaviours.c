/* SPDX-License-Identifier: Apache-2.0
 *
 * `behaviours NAME [ARGUMENT ...]`: small programs in one file. What each writes and how it ends is
 * the same at each run, so that a traced run can be compared with a native one.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1ul << 20)

extern char **environ;

static void need(int holds, const char *what) {
    if (!holds) {
        perror(what);
        exit(99);
    }
}

static int wait_for(pid_t pid) {
    int status;
    while (waitpid(pid, &status, 0) < 0)
        need(errno == EINTR, "waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* ---- ends ---- */

static int exits(char **arguments) {
    return atoi(arguments[0]);
}

static int crashes(char **arguments) {
    (void)arguments;
    *(volatile int *)8 = 1;
    return 0;
}

static int aborts(char **arguments) {
    (void)arguments;
    abort();
}

static int raises(char **arguments) {
    raise(atoi(arguments[0]));
    return 0;
}

static int loses_its_pipe(char **arguments) {
    int ends[2];
    (void)arguments;
    need(pipe(ends) == 0, "pipe");
    close(ends[0]);
    need(write(ends[1], "x", 1) == 1, "write");
    return 0;
}

/* Says that it is there, then does what it is told until it is killed. */
static int spins(char **arguments) {
    volatile unsigned long count = 0;
    (void)arguments;
    puts("ready");
    fflush(stdout);
    while (count + 1 != 0)
        count++;
    return 0;
}

/* Accesses that cannot be foreseen, without end: what is kept of them takes space. */
static int wanders(char **arguments) {
    volatile char *area = calloc(64, MIB);
    unsigned long at = 1;
    (void)arguments;
    do {
        at = at * 6364136223846793005ul + 1442695040888963407ul;
        area[at >> 38]++;
    } while (at != 1);
    return 0;
}

static int sleeps(char **arguments) {
    (void)arguments;
    puts("ready");
    fflush(stdout);
    while (pause() != 0)
        continue;
    return 0;
}

static int sleeps_with_a_child(char **arguments) {
    if (fork() == 0)
        return sleeps(arguments);
    while (pause() != 0)
        continue;
    return 0;
}

static int ignores_interrupts(char **arguments) {
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    return sleeps(arguments);
}

static volatile sig_atomic_t interrupts;
static void count_interrupt(int number) {
    (void)number;
    interrupts++;
    need(write(1, "interrupt\n", 10) == 10, "write");
}

/* Ends with the number of interrupts that came until the input ended. */
static int counts_interrupts(char **arguments) {
    char buffer[16];
    ssize_t got;
    struct sigaction action = {.sa_handler = count_interrupt};
    (void)arguments;
    sigaction(SIGINT, &action, NULL);
    puts("ready");
    fflush(stdout);
    do
        got = read(0, buffer, sizeof buffer);
    while (got > 0 || (got < 0 && errno == EINTR));
    printf("%d interrupts\n", (int)interrupts);
    return 10 + interrupts;
}

/* ---- processes ---- */

static int forks(char **arguments) {
    (void)arguments;
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0) {
            volatile long sum = 0;
            for (int k = 0; k < 10000; k++)
                sum += k;
            printf("child %d: %ld\n", i, sum);
            exit(i);
        }
        printf("child %d exits with %d\n", i, wait_for(child));
        fflush(stdout);
    }
    pid_t child = fork();
    if (child == 0)
        raise(SIGKILL);
    printf("killed: %d\n", wait_for(child));
    child = fork();
    if (child == 0)
        crashes(NULL);
    printf("crashed: %d\n", wait_for(child));
    return 5;
}

static int vforks(char **arguments) {
    (void)arguments;
    pid_t child = vfork();
    if (child == 0) {
        execl("/bin/echo", "echo", "from vfork", (char *)NULL);
        _exit(98);
    }
    return wait_for(child);
}

static int spawns(char **arguments) {
    char *command[] = {"sh", "-c", "echo spawned; exit 3", NULL};
    pid_t child;
    (void)arguments;
    need(posix_spawn(&child, "/bin/sh", NULL, NULL, command, environ) == 0, "posix_spawn");
    return wait_for(child);
}

static int executes(char **arguments) {
    execv(arguments[0], arguments);
    printf("not executed: %s\n", strerror(errno));
    return 7;
}

/* With a limit on the size of files that leaves no room for the stream of a child. */
static int forks_where_files_are_small(char **arguments) {
    struct rlimit limit = {10000, 10000};
    (void)arguments;
    need(setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit");
    pid_t child = fork();
    if (child == 0) {
        puts("child");
        exit(4);
    }
    return wait_for(child);
}

/* A daemon, as by the book: its own session, an orphan, alive when the first process is gone. What
 * it does is seen by a file. */
static int daemonises(char **arguments) {
    if (fork() != 0)
        exit(0);
    setsid();
    if (fork() != 0)
        exit(0);
    while (getppid() == getsid(0))
        usleep(1000);
    FILE *file = fopen(arguments[0], "w");
    need(file != NULL, "fopen");
    fputs("from the daemon\n", file);
    fclose(file);
    return 0;
}

/* ---- threads ---- */

#define THREADS 64
#define TURNS 200
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned turn, total;

/* Each thread has its turn when all before it have had theirs. */
static void *take_turns(void *argument) {
    unsigned number = (unsigned)(size_t)argument;
    for (int i = 0; i < TURNS; i++) {
        pthread_mutex_lock(&mutex);
        total++;
        pthread_mutex_unlock(&mutex);
    }
    pthread_mutex_lock(&mutex);
    while (turn != number)
        pthread_cond_wait(&changed, &mutex);
    turn++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static int threads(char **arguments) {
    pthread_t thread[THREADS];
    (void)arguments;
    for (size_t i = 0; i < THREADS; i++)
        need(pthread_create(&thread[i], NULL, take_turns, (void *)i) == 0, "pthread_create");
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    printf("%u %u\n", total, turn);
    return 0;
}

static void *sleep_forever(void *argument) {
    pthread_barrier_wait(argument);
    while (pause() != 0)
        continue;
    return NULL;
}

/* As many as asked for, all alive at once. */
static int many_threads(char **arguments) {
    int count = atoi(arguments[0]);
    /* Not on the stack: threads may still be leaving the barrier when this function returns. */
    static pthread_barrier_t barrier;
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, (unsigned)count + 1);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    for (int i = 0; i < count; i++)
        need(pthread_create(&thread, &attributes, sleep_forever, &barrier) == 0, "thread");
    pthread_barrier_wait(&barrier);
    printf("%d threads\n", count);
    return 0;
}

/* ---- files and descriptors ---- */

static int closes_everything(char **arguments) {
    (void)arguments;
    long open_max = sysconf(_SC_OPEN_MAX);
    for (int fd = 0; fd < open_max && fd < 100000; fd++)
        close(fd);
    /* The lowest number is free, and the program can go on. */
    return open("/dev/null", O_RDONLY) == 0 && malloc(10 * MIB) != NULL ? 42 : 1;
}

static int changes_folder(char **arguments) {
    char name[4096];
    need(chdir(arguments[0]) == 0, "chdir");
    puts(getcwd(name, sizeof name));
    pid_t child = fork();
    if (child == 0) {
        puts("child");
        exit(2);
    }
    return wait_for(child);
}

static int reads_to_the_end(char **arguments) {
    unsigned long count = 0, sum = 0;
    int c;
    (void)arguments;
    while ((c = getchar()) != EOF) {
        count++;
        sum = sum * 31 + (unsigned)c;
    }
    printf("%lu %lx\n", count, sum);
    return 0;
}

static int writes_bytes(char **arguments) {
    (void)arguments;
    for (int i = 0; i < 1000; i++)
        for (int c = 0; c < 256; c++)
            putchar(c);
    return 0;
}

static int shows_variable(char **arguments) {
    const char *value = getenv(arguments[0]);
    puts(value == NULL ? "(none)" : value);
    return 0;
}

static int reads_descriptor_3(char **arguments) {
    char buffer[100];
    (void)arguments;
    ssize_t got = read(3, buffer, sizeof buffer);
    need(got >= 0, "read");
    fwrite(buffer, 1, (size_t)got, stdout);
    return 0;
}

/* ---- signals ---- */

static volatile sig_atomic_t alarms;
static void count_alarm(int number) {
    (void)number;
    alarms++;
}

static int alarms_five_times(char **arguments) {
    struct itimerval period = {{0, 2000}, {0, 2000}};
    volatile unsigned long work = 0;
    (void)arguments;
    signal(SIGALRM, count_alarm);
    setitimer(ITIMER_REAL, &period, NULL);
    while (alarms < 5)
        work++;
    puts("five alarms");
    return 0;
}

static sigjmp_buf before_overflow;
static void leave_overflow(int number) {
    (void)number;
    siglongjmp(before_overflow, 1);
}

static int overflow(int depth) {
    volatile char room[4096];
    room[0] = (char)depth;
    return depth < 0 ? 0 : overflow(depth + 1) + room[0];
}

static int overflows_its_stack(char **arguments) {
    stack_t stack = {.ss_sp = malloc(64 << 10), .ss_size = 64 << 10};
    struct sigaction action = {.sa_handler = leave_overflow, .sa_flags = SA_ONSTACK};
    (void)arguments;
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
    if (sigsetjmp(before_overflow, 1) == 0)
        overflow(0);
    else
        puts("came back");
    return 0;
}

static char *page;
static void allow_page(int number, siginfo_t *information, void *context) {
    (void)number;
    (void)context;
    if (information->si_addr == page + 100)
        mprotect(page, 4096, PROT_READ | PROT_WRITE);
    else
        _exit(97);
}

/* As garbage collectors do: the handler makes the access possible, which is then made again. */
static int mends_a_fault(char **arguments) {
    struct sigaction action = {.sa_sigaction = allow_page, .sa_flags = SA_SIGINFO};
    (void)arguments;
    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigaction(SIGSEGV, &action, NULL);
    for (int i = 0; i < 10; i++)
        page[100] += 3;
    printf("%d\n", page[100]);
    return 0;
}

/* ---- memory ---- */

static int runs_out_of_memory(char **arguments) {
    struct rlimit limit = {atol(arguments[0]) * MIB, atol(arguments[0]) * MIB};
    int refused = 0;
    need(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
    for (int i = 0; i < 10000 && !refused; i++) {
        char *block = malloc(MIB);
        if (block == NULL)
            refused = 1;
        else
            memset(block, i, MIB);
    }
    puts(refused ? "refused" : "endless");
    return refused ? 3 : 0;
}

static int asks_for_too_much(char **arguments) {
    (void)arguments;
    void *volatile block = malloc(1ul << 46);
    puts(block == NULL ? "refused" : "granted");
    return 0;
}

static int maps_much(char **arguments) {
    size_t size = 32ul << 30;
    (void)arguments;
    char *area = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    need(area != MAP_FAILED, "mmap");
    for (size_t at = 0; at < size; at += size / 16)
        area[at] = (char)(at >> 32);
    printf("%d\n", area[size / 2]);
    return munmap(area, size);
}

static int shares_a_file(char **arguments) {
    int fd = open(arguments[0], O_RDWR);
    char *text = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    need(text != MAP_FAILED, "mmap");
    pid_t child = fork();
    if (child == 0) {
        memcpy(text, "CHILD", 5);
        exit(0);
    }
    wait_for(child);
    memcpy(text + 6, "PARENT", 6);
    printf("%.12s\n", text);
    return munmap(text, 4096);
}

static int maps_privately(char **arguments) {
    int fd = open(arguments[0], O_RDONLY);
    char *text = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    need(text != MAP_FAILED, "mmap");
    memset(text, 'x', 100);
    printf("%.12s\n", text);
    return 0;
}

static int loads_a_library(char **arguments) {
    (void)arguments;
    void *library = dlopen("libm.so.6", RTLD_NOW);
    need(library != NULL, "dlopen");
    double (*cosine)(double) = (double (*)(double))dlsym(library, "cos");
    printf("%.17g\n", cosine(0.5));
    return dlclose(library);
}

static int shows_features(char **arguments) {
    (void)arguments;
    __builtin_cpu_init();
    printf("sse4.2:%d avx:%d f16c:%d fma:%d avx2:%d avx512f:%d\n",
           !!__builtin_cpu_supports("sse4.2"), !!__builtin_cpu_supports("avx"),
           !!__builtin_cpu_supports("f16c"), !!__builtin_cpu_supports("fma"),
           !!__builtin_cpu_supports("avx2"), !!__builtin_cpu_supports("avx512f"));
    return 0;
}

#define BEHAVIOUR(name) {#name, name}
static const struct {
    const char *name;
    int (*run)(char **arguments);
} behaviours[] = {
    BEHAVIOUR(exits),
    BEHAVIOUR(crashes),
    BEHAVIOUR(aborts),
    BEHAVIOUR(raises),
    BEHAVIOUR(loses_its_pipe),
    BEHAVIOUR(spins),
    BEHAVIOUR(wanders),
    BEHAVIOUR(sleeps),
    BEHAVIOUR(sleeps_with_a_child),
    BEHAVIOUR(ignores_interrupts),
    BEHAVIOUR(counts_interrupts),
    BEHAVIOUR(forks),
    BEHAVIOUR(forks_where_files_are_small),
    BEHAVIOUR(vforks),
    BEHAVIOUR(spawns),
    BEHAVIOUR(executes),
    BEHAVIOUR(daemonises),
    BEHAVIOUR(threads),
    BEHAVIOUR(many_threads),
    BEHAVIOUR(closes_everything),
    BEHAVIOUR(changes_folder),
    BEHAVIOUR(reads_to_the_end),
    BEHAVIOUR(writes_bytes),
    BEHAVIOUR(shows_variable),
    BEHAVIOUR(reads_descriptor_3),
    BEHAVIOUR(alarms_five_times),
    BEHAVIOUR(overflows_its_stack),
    BEHAVIOUR(mends_a_fault),
    BEHAVIOUR(runs_out_of_memory),
    BEHAVIOUR(asks_for_too_much),
    BEHAVIOUR(maps_much),
    BEHAVIOUR(shares_a_file),
    BEHAVIOUR(maps_privately),
    BEHAVIOUR(loads_a_library),
    BEHAVIOUR(shows_features),
};

int main(int count, char **arguments) {
    for (size_t i = 0; count > 1 && i < sizeof behaviours / sizeof behaviours[0]; i++)
        if (strcmp(behaviours[i].name, arguments[1]) == 0)
            return behaviours[i].run(arguments + 2);
    fprintf(stderr, "behaviours: no such behaviour\n");
    return 96;
}
