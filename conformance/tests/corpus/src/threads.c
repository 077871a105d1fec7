/* A pause whose first thread takes the signals and joins two others at its end. Where they may
   not end, the C library has them try for ever. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/wait.h>

static sem_t ended;

static void *helper(void *unused) {
    while (sem_wait(&ended) != 0) {
    }
    return unused;
}

int main(void) {
    pthread_t threads[2];
    sigset_t set;
    int number;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &set, 0);
    sem_init(&ended, 0, 0);
    for (int i = 0; i < 2; i++) {
        if (pthread_create(&threads[i], 0, helper, 0) != 0) {
            return 1;
        }
    }
    do {
        while (waitpid(-1, 0, WNOHANG) > 0) {
        }
    } while (sigwait(&set, &number) != 0 || number == SIGCHLD);
    for (int i = 0; i < 2; i++) {
        sem_post(&ended);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], 0);
    }
    return 0;
}
