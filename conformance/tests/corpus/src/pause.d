/// A pause with D's run-time, and a thread that waits while the first takes signals. It blocks all:
/// that of the run-time for USR1 has a thread wait for USR2.
import core.stdc.stdlib : exit;
import core.sys.posix.signal;
import core.sys.posix.sys.wait;
import core.sync.semaphore : Semaphore;
import core.thread : Thread;

void main()
{
    sigset_t all, set;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, null);
    sigemptyset(&set);
    foreach (number; [SIGTERM, SIGINT, SIGCHLD])
        sigaddset(&set, number);
    auto never = new Semaphore;
    auto waits = new Thread({ never.wait(); });
    waits.isDaemon = true;
    waits.start();
    while (true)
    {
        int status;
        while (waitpid(-1, &status, WNOHANG) > 0) {}
        int number;
        if (sigwait(&set, &number) == 0 && number != SIGCHLD)
            exit(0);
    }
}
