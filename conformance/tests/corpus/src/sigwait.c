/* A pause with one thread, which takes its signals one by one. */
#include <signal.h>
#include <sys/wait.h>

int main(void) {
    sigset_t set;
    int number;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, 0);
    for (;;) {
        while (waitpid(-1, 0, WNOHANG) > 0) {
        }
        if (sigwait(&set, &number) == 0 && number != SIGCHLD) {
            return 0;
        }
    }
}
